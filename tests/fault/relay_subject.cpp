#include "tests/fault/relay_subject.hpp"

#include <set>

#include <sqlite3.h>

#include "server/verify.hpp"
#include "sync/codec.hpp"
#include "tests/fault/crash_points.hpp"
#include "tests/sync/roster_fixture.hpp"

namespace doorstep::fault {

using namespace relay;

namespace {

const std::string relay_path = "/relay";

// ---- The script: what a township hands to its relay, made once

struct Step {
  struct Segments {
    LogName name;
    Position first;
    std::vector<SharedBytes> segments;
  };
  std::vector<Segments> segments;
  std::size_t roster_entries = 0;  // so many of the roster stand after this step
  std::optional<Bytes> proposal;
  Proposer proposer;
};

struct Writer {
  const test::Device* device;
  LogName name;
  std::vector<Hash> hashes;
  Counter counter = 0;
};

class Script {
 public:
  Script() : world_(11 + workload()), dice_(workload() + 5) {
    phones_.push_back(world_.join());
    phones_.push_back(world_.join());
    take_roster(steps_.emplace_back());
    for (const test::Device* device : {&world_.desk, &phones_[0], &phones_[1]}) writers_.push_back(begin_log(*device));
    for (int i = 1; i < 36; ++i) add(i);
    for (Position i = 0; i < world_.roster().size(); ++i) entries_.push_back(world_.roster().entry_at(i));
  }

  Status run(int step, Ledger& ledger) const {
    const Step& todo = steps_.at(static_cast<std::size_t>(step));
    const SpaceId& space = world_.founding->roster.space();
    if (todo.roster_entries != 0) {
      const std::vector<Bytes> entries(entries_.begin(), entries_.begin() + static_cast<std::ptrdiff_t>(todo.roster_entries));
      DOORSTEP_ASSIGN(const auto result, ledger.append_roster(space, 0, entries));
      DOORSTEP_TRY(result.status);
    }
    for (const auto& part : todo.segments) {
      DOORSTEP_ASSIGN(const auto result,
                      ledger.append_segments(1, world_.desk.transport.public_key, space, part.name, part.first, part.segments));
      if (result.stored.refused != Code::ok) return Error(Code::internal, "the script is wrong: " + result.why);
    }
    if (todo.proposal) {
      DOORSTEP_ASSIGN(const auto result, ledger.put_proposal(space, todo.proposer, *todo.proposal));
      DOORSTEP_TRY(result.status);
    }
    return {};
  }
  int size() const { return static_cast<int>(steps_.size()); }
  std::vector<DeviceId> authorities() const { return {world_.authority.public_key}; }

 private:
  Writer begin_log(const test::Device& device) {
    Writer out{&device, {}, {}, 0};
    out.name.device = device.id();
    out.name.incarnation = world_.random.make<Incarnation>();
    return out;
  }

  SharedBytes seal(Writer& writer, std::size_t bytes) {
    SegmentContent content;
    content.roster_size = world_.roster().size();
    content.roster_head = shorten(world_.roster().head());
    NumberedTransaction transaction;
    transaction.first = ++writer.counter;
    transaction.bytes.resize(bytes);
    world_.random.fill(transaction.bytes);
    content.transactions.push_back(std::move(transaction));
    const EpochNumber epoch = world_.roster().newest_epoch();
    const SegmentPlace place{writer.name.root_id(world_.roster().space()), writer.hashes.size() + 1,
                             writer.hashes.empty() ? Hash{} : writer.hashes.back()};
    auto sealed = seal_segment(place, epoch, *world_.roster().epoch_entry_hash(epoch), content, world_.keyring(),
                               writer.device->identity.secret_key, compressor_);
    DOORSTEP_CHECK(sealed.ok());
    writer.hashes.push_back(sealed->hash);
    return std::make_shared<const Bytes>(std::move(sealed->bytes));
  }

  void take_roster(Step& step) { step.roster_entries = static_cast<std::size_t>(world_.roster().size()); }

  void write(Step& step, std::size_t writer, int count, std::size_t bytes) {
    Writer& by = writers_[writer];
    Step::Segments part{by.name, by.hashes.size() + 1, {}};
    for (int i = 0; i < count; ++i) part.segments.push_back(seal(by, bytes));
    step.segments.push_back(std::move(part));
  }

  // Another life of the device goes on from the middle of the log: the relay splits it.
  void fork(Step& step, std::size_t writer) {
    Writer& old = writers_[writer];
    const Position stays = old.name.starts_after + 1;
    if (old.hashes.size() <= stays) return write(step, writer, 2, 200);
    Writer branch{old.device, old.name, {old.hashes.begin(), old.hashes.begin() + static_cast<std::ptrdiff_t>(stays)}, old.counter + 1000};
    const SharedBytes first = seal(branch, 300);
    branch.name = {old.name.device, old.name.incarnation, branch.hashes.back(), stays};
    step.segments.push_back({branch.name, stays + 1, {first}});
    old.name = {old.name.device, old.name.incarnation, old.hashes[stays], stays};
  }

  void add(int i) {
    Step& step = steps_.emplace_back();
    const auto writer = static_cast<std::size_t>(dice_.below(writers_.size()));
    switch (i % 7) {
      case 1: return write(step, writer, 1, 150);
      case 2:  // a group commit
        write(step, writer, 3, 400);
        return write(step, (writer + 1) % writers_.size(), 2, 100);
      case 3: {
        if (i > 15) return write(step, writer, 2, 5000);  // each entry costs every opening its signatures
        const test::Device newcomer(world_.random);
        const Invitation invitation = world_.invite();
        const JoinRequest request = world_.request(invitation, newcomer);
        take_roster(step);
        step.proposal = request.encode();
        step.proposer = {newcomer.keys.transport, invitation.id(), false};
        open_request_ = request;
        return;
      }
      case 4: return write(step, writer, 1, 9000 + static_cast<std::size_t>(dice_.below(40'000)));
      case 5:  // the request is answered, which drops the proposal, and somebody writes
        if (open_request_) {
          world_.apply(admit_entry(world_.roster(), world_.keyring(), world_.desk.identity, *open_request_, "member", "a phone"));
          open_request_.reset();
          take_roster(step);
        }
        return write(step, writer, 1, 100);
      case 6: return fork(step, 1 + static_cast<std::size_t>(dice_.below(writers_.size() - 1)));
      default: return write(step, writer, 2, 2000);
    }
  }

  test::World world_;
  Dice dice_;
  std::deque<test::Device> phones_;
  std::optional<JoinRequest> open_request_;
  std::vector<Writer> writers_;
  std::vector<Step> steps_;
  std::vector<Bytes> entries_;
  Compressor compressor_;
};

const Script& script() {
  static const Script out;
  return out;
}

// PRAGMA integrity_check, beside the open store.
Status integrity_check(SimulatedDisk& disk) {
  sqlite3* db = nullptr;
  int rc = sqlite3_open_v2((relay_path + "/relay.db").c_str(), &db, SQLITE_OPEN_READONLY, disk.vfs()->zName);
  if (rc == SQLITE_OK) rc = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  std::string finding = sqlite3_errstr(rc);
  sqlite3_stmt* statement = nullptr;
  if (rc == SQLITE_OK && sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &statement, nullptr) == SQLITE_OK)
    finding = sqlite3_step(statement) == SQLITE_ROW ? reinterpret_cast<const char*>(sqlite3_column_text(statement, 0)) : sqlite3_errmsg(db);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  if (finding == "ok") return {};
  return Error(Code::corrupt, "integrity_check: " + finding);
}

void put(Bytes& out, ByteView bytes) {
  put_varint(out, bytes.size());
  append(out, bytes);
}

}  // namespace

int RelaySubject::steps_max() { return script().size() - 3; }  // behind the last one are those of the examinations

Result<Hash> RelaySubject::digest(LogStore& store) {
  Bytes all;
  DOORSTEP_ASSIGN(const auto spaces, store.spaces());
  for (const auto& space : spaces) {
    put(all, space.view());
    DOORSTEP_ASSIGN(const auto roster, store.roster(space, 0, SIZE_MAX));
    for (const auto& entry : roster) put(all, entry);
    DOORSTEP_ASSIGN(const auto proposals, store.proposals(space));
    for (const auto& [key, bytes] : proposals) put(all, key.view()), put(all, bytes);
  }
  DOORSTEP_ASSIGN(const auto logs, store.logs());
  for (const auto& log : logs) {
    put(all, log.id.view());
    put_varint(all, log.closed ? 1 : 0);
    DOORSTEP_ASSIGN(const auto segments, store.segments(log.number, 0, SIZE_MAX));
    for (const auto& segment : segments) {
      put_varint(all, segment.position);
      put(all, segment.hash.view());
      put(all, segment.bytes);
    }
  }
  return hash("doorstep/test/relay-store", {ByteView(all)});
}

namespace {

// The state after each step, by its digest.
const std::map<Hash, int>& states() {
  static const std::map<Hash, int> out = [] {
    std::map<Hash, int> known;
    SimulatedDisk disk;
    RelaySubject subject;
    DOORSTEP_CHECK(subject.open(disk, true).ok());
    known[*RelaySubject::digest(subject.store())] = -1;
    for (int done = -1; done + 1 < script().size(); ++done) {
      const Status status = subject.advance(done);
      if (!status) std::fprintf(stderr, "step %d: %s\n", done + 1, status.error().message().c_str());
      DOORSTEP_CHECK(status.ok());
      DOORSTEP_CHECK(known.emplace(*RelaySubject::digest(subject.store()), done + 1).second);
    }
    return known;
  }();
  return out;
}

}  // namespace

Status RelaySubject::open(SimulatedDisk& disk, bool may_be_new) {
  disk_ = &disk;
  DOORSTEP_TRY(disk.sync_directory(relay_path));  // which SqliteStore does itself where there are directories
  auto opened = SqliteStore::open(relay_path, SqliteStore::Mode::serve, disk.vfs()->zName);
  if (!opened && may_be_new) {
    // As its sentence tells the operator: what an interrupted init left is removed, and init run again.
    for (const char* name : {"/relay.db", "/relay.db-wal", "/relay.db-journal"}) DOORSTEP_TRY(disk.remove(relay_path + name));
    SystemRandom random;
    DOORSTEP_TRY(SqliteStore::create(relay_path, script().authorities(), false, random, disk.vfs()->zName));
    opened = SqliteStore::open(relay_path, SqliteStore::Mode::serve, disk.vfs()->zName);
  }
  if (!opened) return opened.error();
  store_ = std::move(*opened);
  ledger_.emplace(*store_, Quotas{64u << 20, 0});
  if (Status loaded = ledger_->load(); !loaded) {
    (void)close();
    return loaded;
  }
  return {};
}

Status RelaySubject::close() {
  ledger_.reset();
  Status out;
  if (store_) out = store_->checkpoint();
  store_.reset();
  return out;
}

Result<int> RelaySubject::progress() {
  DOORSTEP_ASSIGN(digest_, digest(*store_));
  const auto found = states().find(digest_);
  if (found == states().end()) return Error(Code::corrupt, "a state that never was");
  return found->second;
}

Status RelaySubject::advance(int done) {
  const Status written = without_throwing([&]() -> Status {
    DOORSTEP_TRY(ledger_->begin());
    return script().run(done + 1, *ledger_);
  });
  if (written) return ledger_->commit();
  ledger_->rollback();
  return written;
}

void RelaySubject::maintain(int done) {
  if (done % 9 == 8) (void)store_->checkpoint();
}

Status RelaySubject::check(int) {
  DOORSTEP_TRY(integrity_check(*disk_));
  DOORSTEP_TRY(store_->identity());
  DOORSTEP_ASSIGN(const auto logs, store_->logs());
  for (const auto& log : logs) {
    const auto head = ledger_->head(log.space, log.id);
    if (!head || head->position != log.position || head->hash != log.hash)
      return Error(Code::internal, "the ledger's heads are not those of the store");
  }
  static std::set<Hash> verified;  // of equal rows every signature is equal
  if (verified.contains(digest_)) return {};
  DOORSTEP_TRY(verify_store(*store_, [](const Verified&) {}));
  verified.insert(digest_);
  return {};
}

}  // namespace doorstep::fault
