// A record's bytes in a store (sdk/store/FORMAT.md; never on the wire):
//
//   record    kind; count, marks; count, registers by address
//   mark      flags u8 (1 confirmed, 2 resolves, 4 approves, 8 creates, 16 offset); device; first; claimed_ms zigzag; [offset_ms zigzag]
//   register  field; shape u8 (1 element, 2 subfield, 4 awaited, 8 other than one sibling); [element]; [subfield];
//             [sibling count]; siblings; [count, dots]
//   sibling   mark; offset; supersedes count x 2 + (causal != 1); [causal]; (device, counter, causal) each; value
// Canonical: marks, registers, siblings and awaited dots strictly rising; nothing written out that its flag can say.
#include "sync/record.hpp"

#include <algorithm>
#include <map>

#include "sync/codec.hpp"
#include "sync/crypto.hpp"
#include "sync/lab.hpp"
#include "sync/limits.hpp"

namespace doorstep {

namespace {

// The right to close (MERGE.md, section 3), for one operation: tell it each value that the operation names, then ask target by target.
class Closing {
 public:
  Closing(Gate gate, bool resolves, bool approves) : gate_(gate), resolves_(resolves), approves_(approves) {}
  void name(const Value& value) {
    if (!first_) first_ = &value;
    if (*first_ != value) several_ = true;
  }
  bool closes(bool target_approves) const {
    switch (gate_) {
      case Gate::open: return true;
      case Gate::guarded: return resolves_ || !several_;
      case Gate::owned: return approves_ || !target_approves;
      case Gate::once: return false;
    }
    return false;
  }

 private:
  Gate gate_;
  bool resolves_, approves_, several_ = false;
  const Value* first_ = nullptr;
};

// One operation among all at its address, while a register is evaluated.
struct Entry {
  Dot dot;
  const Operation* operation;
  std::uint32_t offset;
  std::uint32_t mark;       // no meaning in quarantine
  bool resolves, approves;  // neither in quarantine
  bool counts;              // stands, or is quarantined and was closed by one that counts
  bool closed = false;
  std::uint32_t causal = 1;
  std::vector<std::size_t> targets = {};  // what it names that is here
  std::vector<Dot> missing = {};          // what it names that is not
};

using Entries = std::vector<Entry>;  // by dot

std::size_t find_entry(const Entries& entries, const Dot& dot) {
  const auto at = std::lower_bound(entries.begin(), entries.end(), dot, [](const Entry& e, const Dot& d) { return e.dot < d; });
  return at != entries.end() && at->dot == dot ? static_cast<std::size_t>(at - entries.begin()) : entries.size();
}

void close_targets(Entries& entries, Gate gate) {
  std::vector<std::size_t> counting;
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (entries[i].counts) counting.push_back(i);
  while (!counting.empty()) {
    const Entry& author = entries[counting.back()];
    counting.pop_back();
    Closing closing(gate, author.resolves, author.approves);
    for (auto i : author.targets) closing.name(entries[i].operation->value);
    for (auto i : author.targets) {
      if (!closing.closes(entries[i].approves)) continue;
      entries[i].closed = true;
      if (!std::exchange(entries[i].counts, true)) counting.push_back(i);
    }
  }
}

// Kahn's algorithm: a causal counter is one above the highest among those that the operation names and that count. An operation in a
// circle or behind one (which takes a hash collision) has none: 0.
void count_causally(Entries& entries) {
  std::vector<std::vector<std::size_t>> named_by(entries.size());
  std::vector<std::size_t> open(entries.size(), 0), ready;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].counts) continue;
    for (auto target : entries[i].targets)
      if (entries[target].counts) named_by[target].push_back(i), ++open[i];
    if (open[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    const auto i = ready.back();
    ready.pop_back();
    for (auto later : named_by[i]) {
      entries[later].causal = std::max(entries[later].causal, entries[i].causal + 1);
      if (--open[later] == 0) ready.push_back(later);
    }
  }
  for (std::size_t i = 0; i < entries.size(); ++i)
    if (open[i] != 0) entries[i].causal = 0;
}

void sort_and_unique(std::vector<Dot>& dots) {
  std::sort(dots.begin(), dots.end());
  dots.erase(std::unique(dots.begin(), dots.end()), dots.end());
}

Register evaluate_register(const Address& address, Entries entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.dot < b.dot; });
  for (auto& entry : entries)
    for (const auto& dot : entry.operation->supersedes) {
      const auto target = find_entry(entries, dot);
      if (target == entries.size())
        entry.missing.push_back(dot);
      else
        entry.targets.push_back(target);
    }
  close_targets(entries, gate_of(address.field));
  count_causally(entries);
  Register out{address, {}, {}};
  for (const auto& entry : entries) {
    if (!entry.counts) continue;
    out.awaited.insert(out.awaited.end(), entry.missing.begin(), entry.missing.end());
    if (entry.closed) continue;
    auto& sibling = out.siblings.emplace_back(Sibling{entry.mark, entry.offset, entry.causal, entry.operation->value, {}});
    for (const auto& dot : entry.operation->supersedes) {
      const auto target = find_entry(entries, dot);
      const bool known = target != entries.size() && entries[target].counts;
      sibling.supersedes.push_back({dot, known ? entries[target].causal : 0});
    }
  }
  sort_and_unique(out.awaited);
  return out;
}

bool mark_before(const Mark& a, const Mark& b) { return Dot{a.device, a.first} < Dot{b.device, b.first}; }

}  // namespace

Record Record::evaluate(KindId kind, std::vector<MarkedOperations> transactions) {
  std::sort(transactions.begin(), transactions.end(), [](const auto& a, const auto& b) { return mark_before(a.mark, b.mark); });
  transactions.erase(
      std::unique(transactions.begin(), transactions.end(), [](const auto& a, const auto& b) { return !mark_before(a.mark, b.mark); }),
      transactions.end());
  Record out(kind);
  std::map<Address, Entries> by_address;
  for (const auto& [mark, operations, quarantined] : transactions) {
    const auto index = static_cast<std::uint32_t>(out.marks_.size());
    if (!quarantined) out.marks_.push_back(mark);
    for (const auto& [offset, operation] : operations)
      by_address[operation.address].push_back({.dot = {mark.device, mark.first + offset},
                                               .operation = &operation,
                                               .offset = offset,
                                               .mark = index,
                                               .resolves = mark.resolves && !quarantined,
                                               .approves = mark.approves && !quarantined,
                                               .counts = !quarantined});
  }
  for (auto& [address, entries] : by_address)
    if (std::any_of(entries.begin(), entries.end(), [](const Entry& entry) { return entry.counts; }))
      out.registers_.push_back(evaluate_register(address, std::move(entries)));
  return out;
}

const Register* Record::find(const Address& address) const {
  const auto at =
      std::lower_bound(registers_.begin(), registers_.end(), address, [](const Register& r, const Address& a) { return r.address < a; });
  return at != registers_.end() && at->address == address ? &*at : nullptr;
}

std::span<const Register> Record::field(FieldId field) const {
  const auto first = std::partition_point(registers_.begin(), registers_.end(), [&](const Register& r) { return r.address.field < field; });
  const auto last = std::partition_point(first, registers_.end(), [&](const Register& r) { return r.address.field <= field; });
  return {first, last};
}

bool Record::created() const {
  return std::any_of(marks_.begin(), marks_.end(), [](const Mark& mark) { return mark.creates; });
}

Register& Record::at(Address address) {
  // Operations mostly come in the order of addresses, on a new record: the end is the usual place.
  if (registers_.empty() || registers_.back().address < address) return registers_.emplace_back(Register{std::move(address), {}, {}});
  const auto at =
      std::lower_bound(registers_.begin(), registers_.end(), address, [](const Register& r, const Address& a) { return r.address < a; });
  if (at != registers_.end() && at->address == address) return *at;
  return *registers_.insert(at, Register{std::move(address), {}, {}});
}

namespace {

// Each register is looked at once before anything is changed, so a transaction that writes to one twice is not simple.
bool addresses_are_distinct(const std::vector<PlacedOperation>& operations) {
  const auto before = [](const PlacedOperation& a, const PlacedOperation& b) { return a.operation.address < b.operation.address; };
  const auto not_rising = [&](const PlacedOperation& a, const PlacedOperation& b) { return !before(a, b); };
  if (std::adjacent_find(operations.begin(), operations.end(), not_rising) == operations.end()) return true;
  std::vector<const Address*> sorted;
  sorted.reserve(operations.size());
  for (const auto& placed : operations) sorted.push_back(&placed.operation.address);
  std::sort(sorted.begin(), sorted.end(), [](const Address* a, const Address* b) { return *a < *b; });
  return std::adjacent_find(sorted.begin(), sorted.end(), [](const Address* a, const Address* b) { return *a == *b; }) == sorted.end();
}

}  // namespace

const Sibling* Record::sibling(const Register& reg, const Dot& named) const {
  const auto at =
      std::lower_bound(reg.siblings.begin(), reg.siblings.end(), named, [&](const Sibling& s, const Dot& d) { return dot(s) < d; });
  return at != reg.siblings.end() && dot(*at) == named ? &*at : nullptr;
}

// The causal counter of an operation that is a sibling or that a sibling names; 0 if it is neither, does not count or has none.
std::uint32_t Record::causal(const Register& reg, const Dot& named) const {
  if (const Sibling* found = sibling(reg, named)) return found->causal;
  for (const auto& each : reg.siblings)
    for (const auto& older : each.supersedes)
      if (older.dot == named) return older.causal;
  return 0;
}

bool Record::is_awaited(const MarkedOperations& transaction) const {
  return std::any_of(transaction.operations.begin(), transaction.operations.end(), [&](const PlacedOperation& placed) {
    const Register* reg = find(placed.operation.address);
    return reg && std::binary_search(reg->awaited.begin(), reg->awaited.end(),
                                     Dot{transaction.mark.device, transaction.mark.first + placed.offset});
  });
}

// Sure means: nobody waits for the operation, and each dot that it names is a sibling, or is closed already (a sibling names it and
// counts it), or has not arrived; and where the gate compares the values of several targets, all of them are siblings.
bool Record::can_apply(const MarkedOperations& transaction, const Arrived& arrived) const {
  if (!addresses_are_distinct(transaction.operations) || is_awaited(transaction)) return false;
  for (const auto& [offset, operation] : transaction.operations) {
    if (operation.supersedes.empty()) continue;
    const Register* reg = find(operation.address);
    std::size_t siblings = 0, closed = 0;
    for (const auto& named : operation.supersedes) {
      if (reg && causal(*reg, named) != 0)
        ++(sibling(*reg, named) ? siblings : closed);
      else if (named == Dot{transaction.mark.device, transaction.mark.first + offset} || arrived(named))
        return false;
    }
    if (gate_of(operation.address.field) == Gate::guarded && !transaction.mark.resolves && closed != 0 && siblings + closed > 1)
      return false;
  }
  return true;
}

void Record::apply_operation(std::uint32_t mark, PlacedOperation& placed) {
  Operation& operation = placed.operation;
  Register& reg = at(std::move(operation.address));
  Sibling added{mark, placed.offset, 1, std::move(operation.value), {}};
  Closing closing(gate_of(reg.address.field), marks_[mark].resolves, marks_[mark].approves);
  added.supersedes.reserve(operation.supersedes.size());
  for (const auto& named : operation.supersedes) {
    const auto& seen = added.supersedes.emplace_back(Superseded{named, causal(reg, named)});
    added.causal = std::max(added.causal, seen.causal + 1);
    if (const Sibling* target = sibling(reg, named)) closing.name(target->value);
    if (seen.causal == 0 && !DOORSTEP_PLANTED(forget_early_supersession)) reg.awaited.push_back(named);
  }
  if (DOORSTEP_PLANTED(time_supersedes))
    std::erase_if(reg.siblings, [&](const Sibling& each) { return marks_[each.mark].corrected_ms() < marks_[mark].corrected_ms(); });
  if (!operation.supersedes.empty()) {
    sort_and_unique(reg.awaited);
    const auto is_named = [&](const Dot& target) {
      return std::find(operation.supersedes.begin(), operation.supersedes.end(), target) != operation.supersedes.end();
    };
    std::erase_if(reg.siblings, [&](const Sibling& each) { return closing.closes(marks_[each.mark].approves) && is_named(dot(each)); });
  }
  if (reg.siblings.empty()) {
    reg.siblings.reserve(1);
    reg.siblings.push_back(std::move(added));
    return;
  }
  const auto place = std::upper_bound(reg.siblings.begin(), reg.siblings.end(), added,
                                      [&](const Sibling& a, const Sibling& b) { return dot(a) < dot(b); });
  reg.siblings.insert(place, std::move(added));
}

Record::Outcome Record::apply(MarkedOperations transaction, const Arrived& arrived) {
  if (transaction.quarantined) return is_awaited(transaction) ? Outcome::replay : Outcome::unchanged;
  const auto place = std::lower_bound(marks_.begin(), marks_.end(), transaction.mark, mark_before);
  if (place != marks_.end() && !mark_before(transaction.mark, *place)) return Outcome::unchanged;
  if (!can_apply(transaction, arrived)) return Outcome::replay;
  // Marks stay in dot order, so that evaluate() and apply() end in the same bytes.
  const auto index = static_cast<std::uint32_t>(place - marks_.begin());
  if (place != marks_.end())
    for (auto& reg : registers_)
      for (auto& each : reg.siblings)
        if (each.mark >= index) ++each.mark;
  marks_.insert(place, transaction.mark);
  if (registers_.empty()) registers_.reserve(transaction.operations.size());
  for (auto& placed : transaction.operations) apply_operation(index, placed);
  return Outcome::applied;
}

void Record::encode(Encoder& out) const {
  out.put_varint(kind_);
  out.put_varint(marks_.size());
  for (const auto& mark : marks_) {
    out.put_u8(static_cast<std::uint8_t>((mark.confirmed ? 1 : 0) | (mark.resolves ? 2 : 0) | (mark.approves ? 4 : 0) |
                                         (mark.creates ? 8 : 0) | (mark.offset_ms != 0 ? 16 : 0)));
    out.put_varint(mark.device);
    out.put_varint(mark.first);
    out.put_zigzag(mark.claimed_ms);
    if (mark.offset_ms != 0) out.put_zigzag(mark.offset_ms);
  }
  out.put_varint(registers_.size());
  for (const auto& reg : registers_) {
    out.put_varint(reg.address.field);
    out.put_u8(static_cast<std::uint8_t>((reg.address.element.empty() ? 0 : 1) | (reg.address.subfield != 0 ? 2 : 0) |
                                         (reg.awaited.empty() ? 0 : 4) | (reg.siblings.size() != 1 ? 8 : 0)));
    if (!reg.address.element.empty()) out.put_bytes(view(reg.address.element));
    if (reg.address.subfield != 0) out.put_varint(reg.address.subfield);
    if (reg.siblings.size() != 1) out.put_varint(reg.siblings.size());
    for (const auto& sibling : reg.siblings) {
      out.put_varint(sibling.mark);
      out.put_varint(sibling.offset);
      out.put_varint(sibling.supersedes.size() * 2 + (sibling.causal != 1 ? 1 : 0));
      if (sibling.causal != 1) out.put_varint(sibling.causal);
      for (const auto& named : sibling.supersedes) {
        out.put_varint(named.dot.device);
        out.put_varint(named.dot.counter);
        out.put_varint(named.causal);
      }
      put_value(out, sibling.value);
    }
    if (!reg.awaited.empty()) {
      out.put_varint(reg.awaited.size());
      for (const auto& dot : reg.awaited) out.put_varint(dot.device), out.put_varint(dot.counter);
    }
  }
}

namespace {

std::uint32_t get_u32(Decoder& in) {
  const auto value = in.get_varint();
  if (value > UINT32_MAX) in.fail("a number is too large");
  return static_cast<std::uint32_t>(value);
}

// A count of at least one byte each. No other bound: a record may be as long as its history, and the store bounds a row.
std::size_t get_count(Decoder& in) {
  const auto count = in.get_varint();
  if (count > in.remaining()) return in.fail("a count is larger than the input"), std::size_t{0};
  return static_cast<std::size_t>(count);
}

// Bounded, so that the sum of a time and an offset does not overflow.
std::int64_t get_time(Decoder& in) {
  const auto ms = in.get_zigzag();
  if (ms > limits::time_ms_max || ms < -limits::time_ms_max) in.fail("a time is out of range");
  return in.failed() ? 0 : ms;
}

Dot get_dot(Decoder& in) {
  const auto device = get_u32(in);
  const auto counter = in.get_varint();
  if (counter == 0) in.fail("a dot names no operation");
  return {device, counter};
}

Mark get_mark(Decoder& in) {
  Mark mark;
  const auto flags = in.get_u8();
  if (flags > 31) in.fail("a mark has unknown flags");
  mark.confirmed = flags & 1;
  mark.resolves = flags & 2;
  mark.approves = flags & 4;
  mark.creates = flags & 8;
  const auto first = get_dot(in);
  mark.device = first.device;
  mark.first = first.counter;
  if (mark.first > limits::counter_max) in.fail("a counter is out of range");
  mark.claimed_ms = get_time(in);
  if (flags & 16) {
    mark.offset_ms = get_time(in);
    if (mark.offset_ms == 0) in.fail("an offset of zero is written out");
  }
  return mark;
}

Sibling get_sibling(Decoder& in, std::size_t mark_count) {
  Sibling sibling;
  sibling.mark = get_u32(in);
  if (sibling.mark >= mark_count) in.fail("a sibling names no mark");
  sibling.offset = get_u32(in);
  const auto shape = in.get_varint();
  if (shape / 2 > limits::supersedes_max) in.fail("a sibling supersedes too many");
  if (shape & 1) {
    sibling.causal = get_u32(in);
    if (sibling.causal == 1) in.fail("a causal counter of one is written out");
  }
  if (!in.failed()) sibling.supersedes.reserve(shape / 2);
  for (std::uint64_t i = 0; i < shape / 2 && !in.failed(); ++i) {
    const auto dot = get_dot(in);
    sibling.supersedes.push_back({dot, get_u32(in)});
  }
  sibling.value = get_value(in);
  return sibling;
}

Address get_address(Decoder& in, std::uint8_t& shape) {
  Address address;
  address.field = get_u32(in);
  shape = in.get_u8();
  if (shape > 15) in.fail("a register has an unknown shape");
  if (shape & 1) {
    address.element = text_view(in.get_bytes(limits::element_key_bytes_max));
    if (address.element.empty()) in.fail("an element key is empty");
  }
  if (shape & 2) {
    address.subfield = get_u32(in);
    if (address.subfield == 0) in.fail("a subfield of zero is written out");
  }
  return address;
}

}  // namespace

Register Record::get_register(Decoder& in) const {
  std::uint8_t shape = 0;
  Register reg{get_address(in, shape), {}, {}};
  const auto siblings = shape & 8 ? get_count(in) : 1;
  if ((shape & 8) && siblings == 1) in.fail("a count of one sibling is written out");
  reg.siblings.reserve(std::min<std::size_t>(siblings, 64));
  for (std::size_t i = 0; i < siblings && !in.failed(); ++i) {
    reg.siblings.push_back(get_sibling(in, marks_.size()));
    if (i != 0 && !in.failed() && !(dot(reg.siblings[i - 1]) < dot(reg.siblings[i]))) in.fail("siblings are out of order");
  }
  const auto awaited = shape & 4 ? get_count(in) : 0;
  if ((shape & 4) && awaited == 0) in.fail("a count of no awaited dots is written out");
  for (std::size_t i = 0; i < awaited && !in.failed(); ++i) {
    reg.awaited.push_back(get_dot(in));
    if (i != 0 && !(reg.awaited[i - 1] < reg.awaited[i])) in.fail("awaited dots are out of order");
  }
  return reg;
}

Record Record::decode(Decoder& in) {
  Record out;
  out.kind_ = get_u32(in);
  const auto marks = get_count(in);
  out.marks_.reserve(std::min<std::size_t>(marks, 1024));
  for (std::size_t i = 0; i < marks && !in.failed(); ++i) {
    out.marks_.push_back(get_mark(in));
    if (i != 0 && !mark_before(out.marks_[i - 1], out.marks_[i])) in.fail("marks are out of order");
  }
  const auto registers = get_count(in);
  out.registers_.reserve(std::min<std::size_t>(registers, 256));
  for (std::size_t i = 0; i < registers && !in.failed(); ++i) {
    out.registers_.push_back(out.get_register(in));
    if (i != 0 && !(out.registers_[i - 1].address < out.registers_[i].address)) in.fail("registers are out of order");
  }
  return out;
}

KindId kind_of(ByteView encoded_record) {
  Decoder in(encoded_record);
  return get_u32(in);
}

bool is_created(ByteView encoded_record) {
  Decoder in(encoded_record);
  get_u32(in);
  bool created = false;
  for (auto marks = get_count(in); marks > 0 && !created && !in.failed(); --marks) created = get_mark(in).creates;
  return created && !in.failed();
}

Hash record_digest(const RecordId& id, ByteView encoded_record) { return hash("doorstep/1/record-state", {id.view(), encoded_record}); }

}  // namespace doorstep
