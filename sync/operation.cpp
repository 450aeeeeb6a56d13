// Bytes of a transaction (PROTOCOL.md, section 3):
//
//   transaction  flags u8 (1 confirmed, 2 offset, 4 link, 8 clock check, 16 note; others refused)
//                claimed_ms zigzag  [offset_ms zigzag, not 0]  [link 16]  [peer 32, offset_ms zigzag]  [note text 1..1024]
//                count, changes (each of another record)
//   change       kind x 2 + creates; [record 16, unless it creates]; count >= 1, operations
//   operation    field; supersedes x 4 + has_subfield x 2 + has_element; [element 1..32]; [subfield, not 0];
//                dots; value
//   dot          0, distance back from this operation (>= 1)  |  device number + 1, counter
#include "sync/operation.hpp"

#include <algorithm>

#include "sync/codec.hpp"
#include "sync/crypto.hpp"
#include "sync/limits.hpp"

namespace doorstep {

namespace {

constexpr std::size_t note_bytes_max = 1024;
enum Flag : std::uint8_t { flag_confirmed = 1, flag_offset = 2, flag_link = 4, flag_check = 8, flag_note = 16, flag_all = 31 };

void put_operation(Encoder& out, const Operation& operation, const Author& author, Counter counter) {
  const auto& address = operation.address;
  DOORSTEP_CHECK(operation.supersedes.size() <= limits::supersedes_max);
  out.put_varint(address.field);
  out.put_varint(operation.supersedes.size() * 4 + (address.subfield != 0 ? 2 : 0) + (address.element.empty() ? 0 : 1));
  if (!address.element.empty()) out.put_bytes(view(address.element));
  if (address.subfield != 0) out.put_varint(address.subfield);
  for (const auto& dot : operation.supersedes) {
    const bool own = dot.device == author.number;
    DOORSTEP_CHECK(own ? dot.counter < counter : dot.device != device_unadmitted);
    out.put_varint(own ? 0 : std::uint64_t{dot.device} + 1);
    out.put_varint(own ? counter - dot.counter : dot.counter);
  }
  put_value(out, operation.value);
}

Dot get_dot(Decoder& in, const Author& author, Counter counter) {
  const auto number = in.get_varint();
  const auto count = in.get_varint();
  if (number > device_unadmitted || count == 0) return in.fail("a dot names no operation"), Dot{};
  if (number == 0) {
    if (count >= counter) return in.fail("an operation supersedes itself or a later one"), Dot{};
    return {author.number, counter - count};
  }
  const auto device = static_cast<DeviceNumber>(number - 1);
  if (device == author.number) in.fail("an own dot is not written as a distance");
  return {device, count};
}

Operation get_operation(Decoder& in, const Author& author, Counter counter) {
  Operation operation;
  const auto field = in.get_varint();
  if (field == 0 || field > UINT32_MAX) in.fail("a field id is out of range");
  operation.address.field = static_cast<FieldId>(field);
  const auto shape = in.get_varint();
  if (shape / 4 > limits::supersedes_max) in.fail("an operation supersedes more than 64 dots");
  if (shape & 1) {
    operation.address.element = text_view(in.get_bytes(limits::element_key_bytes_max));
    if (operation.address.element.empty()) in.fail("an element key is empty");
  }
  if (shape & 2) {
    const auto subfield = in.get_varint();
    if (subfield == 0 || subfield > UINT32_MAX) in.fail("a subfield id is out of range");
    operation.address.subfield = static_cast<SubfieldId>(subfield);
  }
  for (std::uint64_t i = 0; i < shape / 4 && !in.failed(); ++i) {
    const Dot dot = get_dot(in, author, counter);
    if (std::find(operation.supersedes.begin(), operation.supersedes.end(), dot) != operation.supersedes.end())
      in.fail("an operation supersedes a dot twice");
    operation.supersedes.push_back(dot);
  }
  operation.value = get_value(in);
  return operation;
}

// A record's operations stand together, so that whoever merges them sees all that the transaction did to it.
bool changes_a_record_twice(const Transaction& transaction) {
  std::vector<std::pair<RecordId, KindId>> records;
  records.reserve(transaction.changes.size());
  for (const auto& change : transaction.changes) records.emplace_back(change.record, change.kind);
  std::sort(records.begin(), records.end());
  return std::adjacent_find(records.begin(), records.end()) != records.end();
}

}  // namespace

std::size_t Transaction::operation_count() const {
  std::size_t count = 0;
  for (const auto& change : changes) count += change.operations.size();
  return count;
}

RecordId make_record_id(const DeviceId& device, Counter first, std::uint32_t nth) {
  std::uint8_t bytes[12];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<std::uint8_t>(first >> (8 * i));
  for (int i = 0; i < 4; ++i) bytes[8 + i] = static_cast<std::uint8_t>(nth >> (8 * i));
  return RecordId::from(hash("doorstep/1/record", {device.view(), bytes}).view().first(16));
}

void put_transaction(Encoder& out, const Transaction& transaction, const Author& author) {
  Counter next = author.first;
  const auto& time = transaction.time;
  out.put_u8(static_cast<std::uint8_t>((time.confirmed ? flag_confirmed : 0) | (time.offset_ms != 0 ? flag_offset : 0) |
                                       (transaction.link ? flag_link : 0) | (transaction.clock_check ? flag_check : 0) |
                                       (transaction.note.empty() ? 0 : flag_note)));
  out.put_zigzag(time.claimed_ms);
  if (time.offset_ms != 0) out.put_zigzag(time.offset_ms);
  if (transaction.link) out.put_raw(transaction.link->data);
  if (transaction.clock_check) {
    out.put_raw(transaction.clock_check->peer.data);
    out.put_zigzag(transaction.clock_check->offset_ms);
  }
  if (!transaction.note.empty()) out.put_bytes(view(transaction.note));
  out.put_varint(transaction.changes.size());
  for (const auto& change : transaction.changes) {
    DOORSTEP_CHECK(!change.operations.empty());
    out.put_varint(std::uint64_t{change.kind} * 2 + (change.creates ? 1 : 0));
    if (!change.creates) out.put_raw(change.record.data);
    out.put_varint(change.operations.size());
    for (const auto& operation : change.operations) put_operation(out, operation, author, next++);
  }
}

Transaction get_transaction(Decoder& in, const Author& author) {
  Transaction transaction;
  Counter next = author.first;
  std::uint32_t created = 0;
  const auto flags = in.get_u8();
  if (flags & ~flag_all) in.fail("a transaction has unknown flags");
  transaction.time.confirmed = flags & flag_confirmed;
  if (author.first == 0 || author.first > limits::counter_max) in.fail("a counter is out of range");
  const auto get_time = [&in] {
    const auto ms = in.get_zigzag();
    if (ms > limits::time_ms_max || ms < -limits::time_ms_max) in.fail("a time is out of range");
    return in.failed() ? 0 : ms;
  };
  transaction.time.claimed_ms = get_time();
  if (flags & flag_offset) {
    transaction.time.offset_ms = get_time();
    if (transaction.time.offset_ms == 0) in.fail("an offset of zero is written out");
  }
  if (flags & flag_link) transaction.link = in.get_fixed<FixedBytes<struct LinkTag, 16>>();
  if (flags & flag_check) {
    ClockCheck check;
    check.peer = in.get_fixed<decltype(check.peer)>();
    check.offset_ms = get_time();
    transaction.clock_check = check;
  }
  if (flags & flag_note) {
    transaction.note = text_view(in.get_bytes(note_bytes_max));
    if (transaction.note.empty() || !is_valid_text(transaction.note)) in.fail("a note is empty or not valid UTF-8");
  }
  const auto change_count = in.get_count(limits::operations_per_transaction_max);
  transaction.changes.reserve(std::min<std::size_t>(change_count, 64));
  std::size_t operations = 0;
  for (std::size_t i = 0; i < change_count && !in.failed(); ++i) {
    auto& change = transaction.changes.emplace_back();
    const auto head = in.get_varint();
    if (head / 2 == 0 || head / 2 > limits::kind_max) in.fail("a record kind is out of range");
    change.kind = static_cast<KindId>(head / 2);
    change.creates = head & 1;
    change.record = change.creates ? make_record_id(author.device, author.first, created++) : in.get_fixed<RecordId>();
    const auto count = in.get_count(limits::operations_per_transaction_max);
    operations += count;
    if (count == 0) in.fail("a change has no operation");
    if (operations > limits::operations_per_transaction_max) in.fail("a transaction has too many operations");
    change.operations.reserve(std::min<std::size_t>(count, 256));
    for (std::size_t k = 0; k < count && !in.failed(); ++k) change.operations.push_back(get_operation(in, author, next++));
  }
  if (transaction.changes.size() > 1 && changes_a_record_twice(transaction)) in.fail("a transaction changes a record twice");
  return transaction;
}

bool has_clock_check(ByteView transaction) { return !transaction.empty() && (transaction.front() & flag_check) != 0; }

bool claims_confirmed(ByteView transaction) { return !transaction.empty() && (transaction.front() & flag_confirmed) != 0; }

}  // namespace doorstep
