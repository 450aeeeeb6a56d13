// Replicas that hold the same segments and roster hold the same state (DESIGN invariant 3), whoever wrote them and in whatever order
// they came: hostile devices that use counters twice, name what they cannot have seen, fork their logs; cuts and roles that come
// late or early; rosters that come after the segments that rest on them.
#include <map>

#include "sdk/core/core.hpp"
#include "sync/codec.hpp"
#include "sync/founding.hpp"
#include "tests/sdk/replica_fixture.hpp"
#include "tests/sync/roster_fixture.hpp"

namespace doorstep {
namespace {

using test::Device;
using test::SeededRandom;

struct Piece {  // what arrives: a segment of a log, or a roster entry
  LogName name;
  Position position = 0;
  Bytes bytes;
  bool splits = false;  // as a second branch: the reader's log has to be split before it
};

// One history by several devices: their logs, and the roster entries that judge them.
class History {
 public:
  History(Core& desk, const SpaceId& id, std::uint64_t seed) : random_(seed), desk_(desk), space_(desk.spaces().at(id)) {
    for (int i = 0; i < 3; ++i) authors_.emplace_back(random_);
    for (auto& author : authors_) admit(author);
    setup_size_ = space_.roster->size();
    roster_ = *space_.roster;
  }

  // The second author loses the right to resolve or gains it, the third is cut: somewhere in the middle of their logs, and some of
  // what is written later rests on it.
  void write() {
    for (const auto& author : authors_) write_log(author);
    judge(role_entry(*roster_, space_.keys, desk_.identity(), authors_[1].id(), pick(2) ? "member" : "town_clerk",
                     rights_read | rights_append, positions_of(authors_[1]), random_));
    for (const auto& author : authors_) write_log(author);
    judge(cut_entry(*roster_, space_.keys, desk_.identity(), authors_[2].id(), positions_of(authors_[2]), CutReason::lost, "", random_));
    for (const auto& author : authors_) write_log(author);
  }

  std::vector<std::vector<Piece>> logs;  // each in its order; roster entries are the first "log"
  Position setup_size() const { return setup_size_; }
  std::uint64_t pick(std::uint64_t below) { return random_.make<FixedBytes<struct PickTag, 8>>().data[0] % below; }
  SeededRandom& random() { return random_; }

 private:
  void admit(const Device& author) {
    auto invited = invite_entry(*space_.roster, space_.keys, desk_.identity(),
                                {.role = "member", .rights = 3, .expires_ms = 0, .relays = {}}, random_);
    ASSERT_OK(invited);
    ASSERT_OK(desk_.append_own_entry(space_, invited->entry));
    auto request = JoinRequest::make(invited->invitation, space_.id, author.identity, author.keys, {"x", ""});
    ASSERT_OK(request);
    auto admitted = admit_entry(*space_.roster, space_.keys, desk_.identity(), *request, "member", "x");
    ASSERT_OK(admitted);
    ASSERT_OK(desk_.append_own_entry(space_, *admitted));
  }

  void judge(Result<Bytes> entry) {
    ASSERT_OK(entry);
    ASSERT_OK(roster_->append(*entry));
    if (logs.empty() || logs.front().front().position != 0) logs.insert(logs.begin(), std::vector<Piece>());
    logs.front().push_back({{}, 0, *entry, false});
  }

  std::vector<LogPosition> positions_of(const Device& author) {
    std::vector<LogPosition> out;
    for (const auto& [root, hashes] : hashes_) {
      if (owners_.at(root) != author.id() || hashes.empty() || pick(3) == 0) continue;
      const auto at = pick(hashes.size());
      out.push_back({root, at + 1, hashes[at]});
    }
    return out;
  }

  struct Issued {
    Dot dot;
    RecordId record;
    FieldId field;
  };

  // An operation at a place where somebody wrote before, or elsewhere; it names some of what stands there, and what does not.
  Operation operation(Counter first, DeviceNumber number, const RecordId& record) {
    Operation out;
    out.address.field = field_id(900, static_cast<Gate>(pick(4)));
    out.value = static_cast<std::int64_t>(pick(3));
    std::set<Dot> names;
    const auto name = [&](const Dot& dot) {
      if (dot.device != number || dot.counter < first) names.insert(dot);
    };
    for (const auto& issued : issued_)
      if (issued.record == record && issued.field == out.address.field && pick(2) == 0) name(issued.dot);
    if (pick(3) == 0) name({static_cast<DeviceNumber>(1 + pick(3)), 1 + pick(14)});
    out.supersedes.assign(names.begin(), names.end());
    if (out.supersedes.size() > 6) out.supersedes.resize(6);
    return out;
  }

  Transaction transaction(const Device& author, DeviceNumber number, Counter first) {
    Transaction out;
    out.time = {static_cast<std::int64_t>(1'773'500'000'000 + pick(5) * 1000), 0, pick(2) == 0};
    if (pick(4) == 0) out.clock_check = ClockCheck{decltype(ClockCheck::peer)::from(relay_key().view()), 0};
    std::set<RecordId> changed;
    Counter counter = first;
    for (auto changes = 1 + pick(2); changes > 0; --changes) {
      RecordChange change;
      change.kind = desk_.schema().kind("person")->id;
      change.creates = changed.empty() && pick(4) == 0;
      change.record = change.creates ? make_record_id(author.id(), first, 0) : make_record_id(authors_[pick(3)].id(), 1, 0);
      if (!changed.insert(change.record).second) continue;
      std::set<FieldId> fields;
      for (auto operations = 1 + pick(2); operations > 0; --operations) {
        Operation made = operation(first, number, change.record);
        if (!fields.insert(made.address.field).second) continue;
        written_.push_back({{number, counter++}, change.record, made.address.field});
        change.operations.push_back(std::move(made));
      }
      out.changes.push_back(std::move(change));
    }
    return out;
  }
  TransportPublicKey relay_key() const { return roster_->relays().front().key; }

  SegmentContent content(const Device& author, DeviceNumber number) {
    SegmentContent out;
    issued_.insert(issued_.end(), written_.begin(), written_.end());
    written_.clear();
    out.roster_size = pick(2) ? setup_size_ : roster_->size();
    out.roster_head = shorten(roster_->hash_at(out.roster_size - 1));
    for (const auto& [root, hashes] : hashes_) {
      if (pick(2) == 0) continue;
      if (const auto& branches = branch_hashes_[root]; !branches.empty() && pick(3) == 0) {
        const auto& [position, hash] = branches[pick(branches.size())];
        out.references.push_back({root, position, shorten(hash)});
        continue;
      }
      const auto at = pick(3) == 0 ? hashes.size() : pick(hashes.size());  // also one that is not there yet
      out.references.push_back({root, at + 1, pick(6) == 0 || at == hashes.size() ? ShortHash{{9}} : shorten(hashes[at])});
    }
    std::sort(out.references.begin(), out.references.end());
    Counter next = 1 + pick(8);
    for (auto n = 1 + pick(3); n > 0; --n) {
      const Transaction made = transaction(author, number, next);
      Encoder bytes;
      put_transaction(bytes, made, {author.id(), number, next});
      out.transactions.push_back({next, bytes.take()});
      next += made.operation_count() + pick(2);
    }
    return out;
  }

  SealedSegment seal(const Device& author, DeviceNumber number, const LogId& root, Position position, const Hash& previous) {
    const auto epoch = roster_->newest_epoch();
    const Keyring keys = Keyring::open(*roster_, desk_.device(), desk_.sealing());
    auto sealed = seal_segment({root, position, previous}, epoch, *roster_->epoch_entry_hash(epoch), content(author, number), keys,
                               author.identity.secret_key, compressor_);
    EXPECT_TRUE(sealed);
    return std::move(*sealed);
  }

  // Second segments at a position: a log of its own.
  void write_branch(const Device& author, DeviceNumber number, const LogName& name, Position position, const Hash& previous,
                    std::vector<Piece>& log) {
    const LogId root = name.id(space_.id);
    SealedSegment first = seal(author, number, root, position, previous);
    LogName branch = name;
    branch.branch = first.hash;
    branch.starts_after = position - 1;
    log.push_back({branch, position, first.bytes, true});
    branch_hashes_[root].emplace_back(position, first.hash);
    if (pick(2) == 0) return;
    SealedSegment second = seal(author, number, root, position + 1, first.hash);
    log.push_back({branch, position + 1, second.bytes, false});
    branch_hashes_[root].emplace_back(position + 1, second.hash);
  }

  void write_log(const Device& author) {
    const DeviceNumber number = space_.number_of(author.id());
    LogName name{author.id(), random_.make<Incarnation>(), {}, 0};
    const LogId root = name.id(space_.id);
    std::vector<Piece> log;
    Hash previous;
    owners_[root] = author.id();
    for (Position position = 1; position <= 1 + pick(3); ++position) {
      SealedSegment segment = seal(author, number, root, position, previous);
      const Piece piece{name, position, segment.bytes, false};
      const bool branch_first = pick(2) == 0;
      if (!branch_first) log.push_back(piece);
      if (pick(3) == 0) write_branch(author, number, name, position, previous, log);
      if (branch_first) log.push_back(piece);
      previous = segment.hash;
      hashes_[root].push_back(segment.hash);
    }
    logs.push_back(std::move(log));
  }

  SeededRandom random_;
  Core& desk_;
  SpaceState& space_;
  Compressor compressor_;
  std::optional<Roster> roster_;
  Position setup_size_ = 0;
  std::vector<Device> authors_;
  std::map<LogId, std::vector<Hash>> hashes_;
  std::map<LogId, std::vector<std::pair<Position, Hash>>> branch_hashes_;
  std::map<LogId, DeviceId> owners_;
  std::vector<Issued> issued_, written_;  // written_: in the segment that is being made
};

// A branch leaves the log where this position would stand.
bool ends_in_branches(const SpaceState& space, const LogName& name, Position position) {
  if (const auto at = space.log_by_id.find(name.id(space.id));
      at != space.log_by_id.end() && space.logs.at(at->second).head.position >= position)
    return false;  // it is here already
  return std::any_of(space.logs.begin(), space.logs.end(), [&](const auto& each) {
    const LogName& other = each.second.head.name;
    const bool of_parent = each.second.parent != 0 ? space.logs.at(each.second.parent).head.id == name.id(space.id) : !name.branch;
    return other.branch && other != name && other.incarnation == name.incarnation && other.starts_after + 1 == position && of_parent;
  });
}

LogName named_as_branch(Core& core, SpaceState& space, const LogName& name, const Piece& piece) {
  const auto head = parse_segment(piece.bytes);
  Hash previous;
  if (piece.position > 1) previous = **core.hash_at(space, space.logs.at(space.log_by_id.at(name.id(space.id))), piece.position - 1);
  const SegmentPlace place{name.root_id(space.id), piece.position, previous};
  return {name.device, name.incarnation, segment_hash(place, *head, *space.roster->epoch_entry_hash(head->epoch)), piece.position - 1};
}

// Delivers the history to a reader, the logs mixed in an order of its own.
// `splits`: it followed each log to its end, and learns of a branch as a session does, by splitting the log.
void deliver(Core& core, const SpaceId& id, const std::vector<std::vector<Piece>>& logs, Position roster_size, SeededRandom& random,
             bool splits) {
  std::map<LogId, LogName> continued;  // what stands under a root now
  std::vector<std::size_t> next(logs.size(), 0);
  for (;;) {
    std::vector<std::size_t> open;
    for (std::size_t i = 0; i < logs.size(); ++i)
      if (next[i] < logs[i].size()) open.push_back(i);
    if (open.empty()) return;
    const auto chosen = open[random.make<FixedBytes<struct ChoiceTag, 1>>().data[0] % open.size()];
    const Piece& piece = logs[chosen][next[chosen]];
    SpaceState& space = core.spaces().at(id);
    if (piece.position == 0) {
      auto added = core.append_roster(space, roster_size++, {piece.bytes});
      ASSERT_OK(added);
      ++next[chosen];
      continue;
    }
    LogName name = piece.name;
    const LogId root = name.root_id(id);
    if (!name.branch && continued.contains(root)) name = continued.at(root);
    if (splits && piece.splits) {
      const LogName whole = continued.contains(root) ? continued.at(root) : LogName{name.device, name.incarnation, {}, 0};
      const auto at = space.log_by_id.find(whole.id(id));
      if (at != space.log_by_id.end() && space.logs.at(at->second).head.position > name.starts_after) {
        const LogState log = space.logs.at(at->second);
        const auto next_hash = *core.hash_at(space, log, name.starts_after + 1);
        ASSERT_TRUE(next_hash);
        ASSERT_OK(core.split(space, log.head.id, name.starts_after));
        continued[root] = {name.device, name.incarnation, *next_hash, name.starts_after};
      }
    }
    const bool closed = ends_in_branches(space, name, piece.position);
    auto stored = core.append_segments(space, name, piece.position, {piece.bytes}, nullptr);
    if (stored.refused == Code::waiting) continue;  // for the entry that begins its epoch
    ASSERT_EQ(stored.refused == Code::conflict, closed) << "a log that a branch leaves is closed";
    if (closed) {  // then it is a branch too, and so is what follows it
      name = named_as_branch(core, core.spaces().at(id), name, piece);
      continued[root] = name;
      stored = core.append_segments(core.spaces().at(id), name, piece.position, {piece.bytes}, nullptr);
    }
    ASSERT_EQ(stored.refused, Code::ok) << code_name(stored.refused);
    ++next[chosen];
    const auto again = core.append_segments(core.spaces().at(id), name, piece.position, {piece.bytes}, nullptr);
    ASSERT_EQ(again.refused, Code::ok);
  }
}

std::map<RecordId, Bytes> records_of(Core& core, const SpaceId& id) {
  std::map<RecordId, Bytes> out;
  SpaceState& space = core.spaces().at(id);
  auto rows = core.database().prepare("SELECT id FROM record");
  std::vector<RecordId> ids;
  while (*rows->step()) ids.push_back(*rows->column_id<RecordId>(0));
  for (const auto& record : ids) {
    Encoder encoder;
    (*core.load_record(space, record, 0))->record.encode(encoder);
    out[record] = encoder.take();
  }
  return out;
}

TEST(ConvergenceProperty, AnyOrderOfArrivalEndsInTheSameState) {
  FakeClock clock;
  for (std::uint64_t seed = 1; seed <= 80; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    TemporaryDirectory directory;
    SpaceId id;
    auto options = cheap_options(directory / "desk", &clock);
    auto desk = Replica::create(options, "passphrase");
    ASSERT_OK(desk);
    RelayAddress relay;
    relay.key.data[0] = 1;
    auto founded = desk->found({.name = "村", .role = "town_clerk", .label = "吴", .relays = {{relay.key, {"127.0.0.1:1"}}}});
    ASSERT_OK(founded);
    id = *founded;
    History history(*desk->core(), id, seed);
    for (const char* name : {"a", "b"})
      std::filesystem::copy(directory / "desk", directory / name, std::filesystem::copy_options::recursive);
    history.write();
    std::vector<Replica> readers;
    for (const char* name : {"a", "b"}) {
      auto reader = Replica::open(cheap_options(directory / name, &clock), "passphrase");
      ASSERT_OK(reader);
      readers.push_back(std::move(*reader));
      ASSERT_NO_FATAL_FAILURE(deliver(*readers.back().core(), id, history.logs, history.setup_size(), history.random(), name[0] == 'b'));
      const Status verified = readers.back().verify();
      ASSERT_TRUE(verified.ok()) << verified.error().message();
    }
    ASSERT_EQ(records_of(*readers[0].core(), id), records_of(*readers[1].core(), id));
    ASSERT_EQ(*readers[0].state_digest(id), *readers[1].state_digest(id));
  }
}

// What was written and not sealed yet is judged by the newest role, and comes back with the right.
TEST(PendingWork, ThatARoleTookAwayComesBackWithTheRole) {
  FakeClock clock;
  TemporaryDirectory directory;
  auto desk = Replica::create(cheap_options(directory / "desk", &clock), "passphrase");
  auto phone = Replica::create(cheap_options(directory / "phone", &clock), "passphrase");
  ASSERT_OK(desk);
  ASSERT_OK(phone);
  auto founded = desk->found({.name = "村", .role = "town_clerk", .label = "吴", .relays = {{TransportPublicKey{{1}}, {"127.0.0.1:1"}}}});
  ASSERT_OK(founded);
  const SpaceId id = *founded;
  const auto uri = desk->invite(id, {.role = "member"});
  ASSERT_OK(uri);
  ASSERT_OK(phone->join(*uri, "兰"));
  Core &office = *desk->core(), &member = *phone->core();
  SpaceState& space = office.spaces().at(id);
  const auto request = JoinRequest::make(*Invitation::from_uri(*uri), id, member.identity(), member.device_keys(), {"兰", ""});
  ASSERT_OK(request);
  SeededRandom random(1);
  const auto hand_over = [&](Result<Bytes> entry) {
    ASSERT_OK(entry);
    ASSERT_OK(office.append_own_entry(space, *entry));
    std::vector<Bytes> entries;
    for (Position i = 0; i < space.roster->size(); ++i) entries.push_back(space.roster->entry_at(i));
    ASSERT_OK(member.append_roster(member.spaces().at(id), 0, entries));
  };
  const auto role = [&](const char* name) {
    hand_over(role_entry(*space.roster, space.keys, office.identity(), member.device(), name, rights_read | rights_append, {}, random));
  };
  hand_over(admit_entry(*space.roster, space.keys, office.identity(), *request, "member", "兰"));
  const RecordId person = put_person(*phone, id, 3);
  ASSERT_OK(phone->get(id, person));
  role("viewer");
  EXPECT_EQ(phone->get(id, person).code(), Code::not_found) << "a role that may not write";
  EXPECT_EQ(phone->pending(id)->transactions, 1u) << "kept all the same";
  role("member");
  ASSERT_OK(phone->get(id, person));
  ASSERT_OK(phone->verify());
}

}  // namespace
}  // namespace doorstep
