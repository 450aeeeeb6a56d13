// Hostile bytes as a transaction: refused, or exactly what it would be written as.
#include <cstdlib>

#include "sync/codec.hpp"
#include "sync/operation.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace doorstep;
  Author author;
  author.number = 3;
  author.first = 1000;
  const ByteView bytes(data, size);
  Decoder in(bytes);
  const auto transaction = get_transaction(in, author);
  if (!in.finish("a transaction").ok()) return 0;
  Encoder out;
  put_transaction(out, transaction, author);
  if (!equal(out.bytes(), bytes)) std::abort();
  return 0;
}
