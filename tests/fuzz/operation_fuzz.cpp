// Hostile bytes as a decrypted transaction: refused, or exactly what it would be written as.
#include "sync/codec.hpp"
#include "sync/operation.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;

void run(ByteView input, Verdict& verdict) {
  Author author;
  author.number = 3;
  author.first = 1000;
  Decoder in(input);
  const auto transaction = get_transaction(in, author);
  const auto status = in.finish("a transaction");
  verdict.note(status);
  if (!status.ok()) return;
  verdict.note(transaction.operation_count());
  Encoder out;
  put_transaction(out, transaction, author);
  require(equal(out.bytes(), input));
  require(has_clock_check(input) == transaction.clock_check.has_value());
  require(claims_confirmed(input) == transaction.time.confirmed);
}

const Registration registration({"operation", run});

}  // namespace
