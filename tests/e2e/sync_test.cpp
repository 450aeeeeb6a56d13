// Replicas and a relay over real sockets, in one process: what DESIGN's invariants say must come out.
#include "doorstep/doorstep.hpp"

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>

#include "sdk/core/core.hpp"
#include "tests/e2e/running_relay.hpp"
#include "tests/sdk/replica_fixture.hpp"

namespace doorstep {
namespace {

class SyncTest : public testing::Test {
 protected:
  void SetUp() override {
    desk_.emplace(make("desk", desk_clock_));
    auto authority = desk_->authority();
    ASSERT_OK(authority);
    authority_ = *authority;
    relay_.emplace(directory_ / "relay", std::vector<DeviceId>{authority_});
    auto founded = desk_->found({.name = "石桥村", .role = "town_clerk", .label = "吴", .relays = {relay_->address()}});
    ASSERT_OK(founded);
    village_ = *founded;
  }
  Replica make(const std::string& name, FakeClock& clock) {
    auto made = Replica::create(cheap_options(directory_ / name, &clock), "passphrase");
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message());
    return std::move(*made);
  }
  Replica open(const std::string& name, FakeClock& clock) {
    auto opened = Replica::open(cheap_options(directory_ / name, &clock), "passphrase");
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error().message());
    return std::move(*opened);
  }
  SyncReport sync_now(Replica& replica) {
    SyncOptions options;
    options.proxy = relay_->where();
    options.timeout_ms = 20'000;
    auto report = sync(replica, options);
    EXPECT_TRUE(report.ok()) << (report.ok() ? "" : report.error().message());
    return report ? *report : SyncReport{};
  }
  void join(Replica& replica, const std::string& label, const std::string& role = "member") {
    auto uri = desk_->invite(village_, {.role = role});
    ASSERT_OK(uri);
    sync_now(*desk_);
    ASSERT_OK(replica.join(*uri, label, "石桥村"));
    sync_now(replica);
    sync_now(*desk_);
    auto applicants = desk_->applicants(village_);
    ASSERT_OK(applicants);
    ASSERT_EQ(applicants->size(), 1u);
    EXPECT_EQ(applicants->front().label, label);
    ASSERT_OK(desk_->admit(village_, applicants->front().device));
    sync_now(*desk_);
    sync_now(replica);
    EXPECT_EQ(replica.space(village_)->waits_for, "");
    EXPECT_EQ(replica.space(village_)->role, role);
  }
  void expect_level(std::initializer_list<Replica*> replicas) {
    const auto first = (*replicas.begin())->state_digest(village_);
    for (Replica* replica : replicas) {
      EXPECT_EQ(*replica->state_digest(village_), *first);
      EXPECT_EQ(replica->pending(village_)->transactions, 0u);
      for (const auto& held : *replica->quarantine(village_)) ADD_FAILURE() << held.transactions << " in quarantine: " << held.reason;
      const Status whole = replica->verify();
      EXPECT_TRUE(whole.ok()) << (whole.ok() ? "" : whole.error().message());
    }
  }

  TemporaryDirectory directory_;
  FakeClock desk_clock_, clock_a_, clock_b_;
  std::optional<Replica> desk_;
  DeviceId authority_;
  std::optional<RunningRelay> relay_;
  SpaceId village_;
};

TEST_F(SyncTest, SupervisorAndTwoMembersOfDomain96) {
  Replica lan = make("lan", clock_a_), fu = make("fu", clock_b_);
  join(lan, "兰");
  join(fu, "付");
  const RecordId chen = put_person(*desk_, village_, 3);
  ASSERT_OK(set_field(*desk_, village_, chen, "self_care", std::string("1")));
  sync_now(*desk_);
  sync_now(lan);
  sync_now(fu);
  expect_level({&*desk_, &lan, &fu});

  // Offline: the desk says 3 after a hospital call, Fu says 2 with a reason; all three add a telephone.
  ASSERT_OK(set_field(*desk_, village_, chen, "self_care", std::string("3")));
  ASSERT_OK(fu.transact(village_, [&](Write& write) -> Status {
    write.set(chen, "self_care", "2").note("本人可自行进食");
    return {};
  }));
  const auto phones_before = desk_->get(village_, chen)->elements("phones").size();
  int number = 0;
  for (Replica* replica : {&*desk_, &lan, &fu})
    ASSERT_OK(replica->transact(village_, [&](Write& write) -> Status {
      write.add(chen, "phones", {{"number", "1380000000" + std::to_string(number++)}, {"owner", std::string("儿子")}});
      return {};
    }));
  for (int round = 0; round < 2; ++round)
    for (Replica* replica : {&fu, &*desk_, &lan}) sync_now(*replica);
  expect_level({&*desk_, &lan, &fu});
  for (Replica* replica : {&*desk_, &lan, &fu}) {
    auto view = replica->get(village_, chen);
    EXPECT_EQ(view->text("self_care"), "3") << "the cautious value is shown";
    EXPECT_TRUE(view->conflicted("self_care"));
    EXPECT_EQ(view->standing("self_care").size(), 2u);
    EXPECT_EQ(view->elements("phones").size(), phones_before + 3) << "telephones: union";
    auto conflicts = replica->conflicts(village_);
    ASSERT_EQ(conflicts->size(), 1u);
    EXPECT_EQ(conflicts->front().field, "self_care");
  }

  EXPECT_EQ(fu.resolve(village_, chen, "self_care", std::string("2")).code(), Code::no_right);
  ASSERT_OK(desk_->resolve(village_, chen, "self_care", std::string("3"), "医院电话核实"));
  // Fu edits once more before he has seen the decision: that opens it again (DOMAIN 2.29-4).
  ASSERT_OK(set_field(fu, village_, chen, "bedridden", true));
  for (int round = 0; round < 2; ++round)
    for (Replica* replica : {&*desk_, &fu, &lan}) sync_now(*replica);
  expect_level({&*desk_, &lan, &fu});
  EXPECT_TRUE(lan.conflicts(village_)->empty());
  auto history = lan.history(village_, chen, "self_care");
  std::set<std::string> values;
  for (const auto& entry : *history) values.insert(std::get<CodeText>(entry.value).text);
  EXPECT_TRUE(values.contains("2") && values.contains("3") && values.contains("1"));
  EXPECT_EQ(history->back().note, "医院电话核实");
}

TEST_F(SyncTest, ANewcomerWritesBeforeHeIsAdmitted) {
  Replica lan = make("lan", clock_a_);
  auto uri = desk_->invite(village_, {});
  ASSERT_OK(uri);
  ASSERT_OK(lan.join(*uri, "兰"));
  const RecordId person = put_person(lan, village_, 5);
  ASSERT_OK(set_field(lan, village_, person, "self_care", std::string("3")));
  EXPECT_EQ(lan.pending(village_)->waits_for, "admission");
  sync_now(*desk_);
  sync_now(lan);
  sync_now(*desk_);
  ASSERT_OK(desk_->admit(village_, lan.device()));
  sync_now(*desk_);
  sync_now(lan);
  sync_now(lan);
  sync_now(*desk_);
  expect_level({&*desk_, &lan});
  EXPECT_EQ(desk_->get(village_, person)->text("self_care"), "3");
}

TEST_F(SyncTest, ARestoredStoreLosesNothingAndDoublesNothing) {
  Replica lan = make("lan", clock_a_);
  join(lan, "兰");
  const RecordId first = put_person(lan, village_, 1);
  std::optional<Replica> phone(std::move(lan));
  // A backup with a pending transaction in it, which then leaves.
  const RecordId second = put_person(*phone, village_, 2);
  ASSERT_OK(phone->lock());
  phone.reset();
  std::filesystem::copy(directory_ / "lan", directory_ / "backup", std::filesystem::copy_options::recursive);
  phone.emplace(open("lan", clock_a_));
  sync_now(*phone);
  const RecordId third = put_person(*phone, village_, 3);
  sync_now(*phone);
  phone.reset();
  // The phone goes back in time, and works on.
  std::filesystem::remove_all(directory_ / "lan");
  std::filesystem::copy(directory_ / "backup", directory_ / "lan", std::filesystem::copy_options::recursive);
  phone.emplace(open("lan", clock_a_));
  const RecordId fourth = put_person(*phone, village_, 4);
  const auto report = sync_now(*phone);
  EXPECT_FALSE(report.warnings.empty()) << "the person is told";
  sync_now(*phone);
  sync_now(*desk_);
  expect_level({&*desk_, &*phone});
  EXPECT_EQ(*desk_->count(village_, "person"), 4u);
  for (const auto& id : {first, second, third, fourth}) ASSERT_OK(desk_->get(village_, id));
}

TEST_F(SyncTest, AStoreRestoredToBeforeItsFirstWriteDoesNotMeetItself) {
  std::optional<Replica> phone(make("lan", clock_a_));
  join(*phone, "兰");
  phone.reset();
  std::filesystem::copy(directory_ / "lan", directory_ / "backup", std::filesystem::copy_options::recursive);
  phone.emplace(open("lan", clock_a_));
  const RecordId first = put_person(*phone, village_, 1);
  sync_now(*phone);
  phone.reset();
  std::filesystem::remove_all(directory_ / "lan");
  std::filesystem::rename(directory_ / "backup", directory_ / "lan");
  phone.emplace(open("lan", clock_a_));
  const RecordId second = put_person(*phone, village_, 2);
  sync_now(*phone);
  sync_now(*desk_);
  sync_now(*phone);
  expect_level({&*desk_, &*phone});
  for (const auto& id : {first, second}) ASSERT_OK(desk_->get(village_, id));
}

TEST_F(SyncTest, ACloneThatDoesNotKnowItForksAndBothBranchesAreKept) {
  Replica lan = make("lan", clock_a_);
  join(lan, "兰");
  put_person(lan, village_, 1);
  sync_now(lan);
  std::optional<Replica> original(std::move(lan)), clone;
  ASSERT_OK(original->lock());
  original.reset();
  std::filesystem::copy(directory_ / "lan", directory_ / "clone", std::filesystem::copy_options::recursive);
  original.emplace(open("lan", clock_a_));
  clone.emplace(open("clone", clock_b_));
  put_person(*original, village_, 2);
  put_person(*clone, village_, 3);
  sync_now(*original);
  sync_now(*clone);
  for (int round = 0; round < 2; ++round)
    for (Replica* replica : {&*clone, &*original, &*desk_}) sync_now(*replica);
  EXPECT_EQ(*desk_->count(village_, "person"), 3u);
  expect_level({&*desk_, &*original, &*clone});
}

TEST_F(SyncTest, ARelayThatLostItsDiskIsFilledAgainByThePhones) {
  Replica lan = make("lan", clock_a_);
  join(lan, "兰");
  for (std::size_t i = 0; i < 5; ++i) put_person(lan, village_, i);
  sync_now(lan);
  sync_now(*desk_);
  EXPECT_EQ(lan.pending(village_)->transactions, 0u);
  // Same key, same address, empty disk: the store identity is another one.
  relay_.reset();
  std::filesystem::remove_all(directory_ / "relay");
  SystemRandom random;
  relay_.emplace(directory_ / "relay", std::vector<DeviceId>{authority_});
  ASSERT_OK(desk_->set_relays(village_, {relay_->address()}));
  sync_now(*desk_);
  // The phone still knows the old relay's key only: a bundle or the desk would bring the new one. Here the roster comes by the desk.
  const auto roster = desk_->core();
  {
    const std::lock_guard guard(roster->mutex);
    auto desk_space = roster->space(village_);
    std::vector<Bytes> entries;
    for (Position i = 0; i < (*desk_space)->roster->size(); ++i) entries.push_back((*desk_space)->roster->entry_at(i));
    const std::lock_guard inner(lan.core()->mutex);
    auto lan_space = lan.core()->space(village_);
    ASSERT_OK(lan.core()->append_roster(**lan_space, 0, entries));
  }
  sync_now(lan);
  sync_now(*desk_);
  expect_level({&*desk_, &lan});
  EXPECT_EQ(*desk_->count(village_, "person"), 5u);
}

TEST_F(SyncTest, AChangeReachesAWatchingReplicaLive) {
  Replica lan = make("lan", clock_a_);
  join(lan, "兰");
  const RecordId person = put_person(*desk_, village_, 3);
  sync_now(*desk_);
  sync_now(lan);
  std::mutex mutex;
  std::condition_variable changed;
  bool seen = false;
  auto watching = lan.observe(village_, person, [&] {
    const std::lock_guard guard(mutex);
    seen = true;
    changed.notify_all();
  });
  SyncOptions options;
  options.proxy = relay_->where();
  SyncService desk_service(*desk_, options), lan_service(lan, options);
  std::unique_lock lock(mutex);
  // Whichever of the two is connected first, the change arrives without anybody syncing by hand.
  const std::string other = lan.get(village_, person)->text("self_care") == "2" ? "3" : "2";
  ASSERT_OK(set_field(*desk_, village_, person, "self_care", other));
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return seen; }))
      << desk_service.problem() << " / " << lan_service.problem();
  lock.unlock();
  EXPECT_EQ(lan.get(village_, person)->text("self_care"), other);
}

// Waits, woken by the progress of a service, until something holds.
class Progress {
 public:
  SyncOptions options() {
    SyncOptions out;
    out.progress = [this](const SyncProgress&) {
      const std::lock_guard guard(mutex_);
      ++count_;
      came_.notify_all();
    };
    return out;
  }
  template <class Condition>
  bool until(const Condition& holds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      std::size_t before = 0;
      {
        const std::lock_guard guard(mutex_);
        before = count_;
      }
      if (holds()) return true;
      std::unique_lock lock(mutex_);
      if (!came_.wait_until(lock, deadline, [&] { return count_ != before; })) return false;
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::size_t count_ = 0;
};

TEST_F(SyncTest, AServiceCarriesASpaceThatIsFoundedWhileItRuns) {
  Progress progress;
  SyncService service(*desk_, progress.options());
  put_person(*desk_, village_, 3);
  ASSERT_TRUE(progress.until([&] { return desk_->pending(village_)->transactions == 0; })) << service.problem();
  auto second = desk_->found({.name = "柳树村", .role = "town_clerk", .label = "吴", .relays = {relay_->address()}});
  ASSERT_OK(second);
  put_person(*desk_, *second, 4);
  EXPECT_TRUE(progress.until([&] { return desk_->pending(*second)->transactions == 0; })) << service.problem();
}

TEST_F(SyncTest, AServiceSpeaksWithEveryRelay) {
  Replica lan = make("lan", clock_a_);
  join(lan, "兰");
  RunningRelay other(directory_ / "other", std::vector<DeviceId>{authority_});
  ASSERT_OK(desk_->set_relays(village_, {relay_->address(), other.address()}));
  ASSERT_OK(sync(*desk_));
  ASSERT_OK(sync(lan));
  put_person(*desk_, village_, 3);
  Progress progress;
  SyncService service(*desk_, progress.options());
  // The first relay says "level" first; then it goes, and what it had is at the other.
  ASSERT_TRUE(progress.until([&] { return desk_->pending(village_)->transactions == 0; })) << service.problem();
  relay_.reset();
  SyncOptions short_wait;
  short_wait.timeout_ms = 5000;
  EXPECT_TRUE(progress.until([&] {
    (void)sync(lan, short_wait);
    return *lan.count(village_, "person") == 1;
  })) << service.problem();
}

// What this program does not know it merges, keeps, forwards and leaves alone when it edits beside it.
TEST_F(SyncTest, ANewerSchemaTravelsThroughAnOlderProgram) {
  auto document = nlohmann::json::parse(Schema::builtin().to_json());
  document["version"] = document["version"].get<int>() + 1;
  for (auto& kind : document["kinds"])
    if (kind["name"] == "person")
      kind["fields"].push_back(
          {{"number", 900}, {"name", "dialect"}, {"label", {"方言", "dialect"}}, {"type", "text"}, {"policy", "review"}});
  document["kinds"].push_back(
      {{"id", 1500},
       {"name", "loan"},
       {"label", {"借用", "loan"}},
       {"sensitivity", "s1"},
       {"rights", {{"member", {"write"}}, {"town_clerk", {"write", "resolve", "approve"}}}},
       {"fields", {{{"number", 1}, {"name", "what"}, {"label", {"物品", "what"}}, {"type", "text"}, {"policy", "latest"}}}}});
  const auto newer = Schema::parse(document.dump());
  ASSERT_OK(newer);
  const auto with_newer = [&](const std::string& name, FakeClock& clock) {
    auto options = cheap_options(directory_ / name, &clock);
    options.schema = *newer;
    return options;
  };
  auto made = Replica::create(with_newer("new-desk", desk_clock_), "passphrase");
  ASSERT_OK(made);
  desk_.emplace(std::move(*made));
  relay_.reset();
  relay_.emplace(directory_ / "new-relay", std::vector<DeviceId>{*desk_->authority()});
  auto founded = desk_->found({.name = "石桥村", .role = "town_clerk", .label = "吴", .relays = {relay_->address()}});
  ASSERT_OK(founded);
  village_ = *founded;
  Replica older = make("older", clock_a_);
  join(older, "兰");

  const RecordId person = put_person(*desk_, village_, 3);
  ASSERT_OK(set_field(*desk_, village_, person, "dialect", std::string("闽南话")));
  RecordId loan;
  ASSERT_OK(desk_->transact(village_, [&](Write& write) -> Status {
    loan = write.create("loan");
    write.set(loan, "what", std::string("轮椅"));
    return {};
  }));
  sync_now(*desk_);
  sync_now(older);
  expect_level({&*desk_, &older});
  ASSERT_OK(older.get(village_, loan));
  EXPECT_EQ(older.get(village_, loan)->kind(), nullptr);
  ASSERT_OK(set_field(older, village_, person, "self_care", std::string("3")));
  sync_now(older);
  sync_now(*desk_);
  expect_level({&*desk_, &older});

  auto made_third = Replica::create(with_newer("third", clock_b_), "passphrase");
  ASSERT_OK(made_third);
  Replica third = std::move(*made_third);
  join(third, "付");
  EXPECT_EQ(third.get(village_, person)->text("dialect"), "闽南话");
  EXPECT_EQ(third.get(village_, person)->text("self_care"), "3");
  EXPECT_EQ(third.get(village_, loan)->text("what"), "轮椅");
  sync_now(older);
  expect_level({&*desk_, &older, &third});
}

TEST_F(SyncTest, AnUnreachableRelayIsASentenceAndLosesNothing) {
  put_person(*desk_, village_, 3);
  relay_.reset();
  SyncOptions options;
  options.timeout_ms = 2000;
  const auto report = sync(*desk_, options);
  EXPECT_EQ(report.code(), Code::unreachable);
  EXPECT_EQ(desk_->pending(village_)->transactions, 1u);
}

TEST_F(SyncTest, AClockTwentyYearsOffRefusesNothingAndWinsNothing) {
  Replica lan = make("lan", clock_a_);
  join(lan, "兰");
  const RecordId person = put_person(*desk_, village_, 3);
  sync_now(*desk_);
  sync_now(lan);
  clock_a_.wall += std::int64_t{20} * 365 * 86'400'000;
  ASSERT_OK(set_field(lan, village_, person, "marital_status", std::string("20")));
  auto report = sync_now(lan);
  EXPECT_FALSE(report.warnings.empty()) << "the person is told that the clock is wrong";
  sync_now(*desk_);
  ASSERT_OK(set_field(*desk_, village_, person, "marital_status", std::string("30")));
  sync_now(*desk_);
  sync_now(lan);
  EXPECT_EQ(lan.get(village_, person)->text("marital_status"), "30") << "who saw the value supersedes it, whatever the clocks say";
  expect_level({&*desk_, &lan});
}

TEST_F(SyncTest, AStrangerLearnsNothing) {
  Replica stranger = make("stranger", clock_a_);
  auto uri = desk_->invite(village_, {});
  ASSERT_OK(uri);
  sync_now(*desk_);
  // An invitation of another township's relay or with another secret leads nowhere.
  Replica other = make("other", clock_b_);
  ASSERT_OK(other.authority());
  auto foreign = other.found({.name = "x", .relays = {relay_->address()}});
  ASSERT_OK(foreign);
  auto foreign_uri = other.invite(*foreign, {});
  ASSERT_OK(foreign_uri);
  ASSERT_OK(stranger.join(*foreign_uri, "x"));
  SyncOptions options;
  options.proxy = relay_->where();
  options.timeout_ms = 5000;
  EXPECT_FALSE(sync(stranger, options).ok());
  EXPECT_FALSE(sync(other, options).ok()) << "an authority that the relay does not serve";
}

}  // namespace
}  // namespace doorstep
