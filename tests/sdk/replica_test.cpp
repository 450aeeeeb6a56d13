// The replica by itself: writing, reading, history, errors. With others: tests/e2e/sync_test.cpp.
#include "tests/sdk/replica_fixture.hpp"

#include <fstream>
#include <sstream>

namespace doorstep {
namespace {

class ReplicaTest : public testing::Test {
 protected:
  void SetUp() override {
    auto made = Replica::create(cheap_options(directory_ / "store", &clock_), "passphrase");
    ASSERT_OK(made);
    replica_.emplace(std::move(*made));
    auto founded = replica_->found({.name = "石桥村", .role = "town_clerk", .label = "吴"});
    ASSERT_OK(founded);
    space_ = *founded;
  }
  void reopen() {
    replica_.reset();
    auto opened = Replica::open(cheap_options(directory_ / "store", &clock_), "passphrase");
    ASSERT_OK(opened);
    replica_.emplace(std::move(*opened));
  }
  TemporaryDirectory directory_;
  FakeClock clock_;
  std::optional<Replica> replica_;
  SpaceId space_;
};

TEST_F(ReplicaTest, WhatWasSavedIsThereAfterReopening) {
  const RecordId id = put_person(*replica_, space_, 3);
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("3")));
  const auto digest = replica_->state_digest(space_);
  reopen();
  auto view = replica_->get(space_, id);
  ASSERT_OK(view);
  EXPECT_EQ(view->text("name"), demo_village().name(3));
  EXPECT_EQ(view->text("self_care"), "3");
  EXPECT_EQ(*replica_->state_digest(space_), *digest);
  ASSERT_OK(replica_->verify());
}

TEST_F(ReplicaTest, HistoryKeepsEveryValueWithAuthorAndWhatSupersededIt) {
  const RecordId id = put_person(*replica_, space_, 3);
  for (const char* value : {"2", "3", "1"}) ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string(value)));
  auto history = replica_->history(space_, id, "self_care");
  ASSERT_OK(history);
  std::vector<std::string> values;
  for (const auto& entry : *history) values.push_back(std::get<CodeText>(entry.value).text);
  ASSERT_GE(values.size(), 3u);
  EXPECT_EQ(values.back(), "1");
  EXPECT_TRUE(history->back().superseded_by.empty());
  EXPECT_EQ(history->front().author, "吴");
  for (std::size_t i = 0; i + 1 < history->size(); ++i) EXPECT_EQ((*history)[i].superseded_by.size(), 1u);
}

// The step that keeps two lives of one store apart survives a first write that is refused (ids.hpp, Dot).
TEST_F(ReplicaTest, ARefusedFirstWriteDoesNotTakeTheRandomStepBack) {
  const RecordId id = put_person(*replica_, space_, 3);
  const auto before = replica_->history(space_, id, "self_care")->back().dot.counter;
  reopen();
  EXPECT_EQ(set_field(*replica_, space_, id, "no_such_field", std::string("x")).code(), Code::invalid_record);
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("3")));
  EXPECT_GT(replica_->history(space_, id, "self_care")->back().dot.counter, before + 100'000);
}

TEST_F(ReplicaTest, AFailedTransactionWritesNothing) {
  const RecordId id = put_person(*replica_, space_, 3);
  const auto before = replica_->state_digest(space_);
  const auto pending = replica_->pending(space_);
  auto saved = replica_->transact(space_, [&](Write& write) -> Status {
    write.set(id, "self_care", "3");
    write.set(id, "no_such_field", "x");
    return {};
  });
  EXPECT_EQ(saved.code(), Code::invalid_record);
  saved = replica_->transact(space_, [&](Write& write) -> Status {
    write.set(id, "self_care", "3");
    write.next_transaction();
    return Error(Code::cancelled, "the user went back");
  });
  EXPECT_EQ(saved.code(), Code::cancelled);
  EXPECT_EQ(*replica_->state_digest(space_), *before);
  EXPECT_EQ(replica_->pending(space_)->transactions, pending->transactions);
  ASSERT_OK(replica_->verify());
}

TEST_F(ReplicaTest, ValidationNamesTheField) {
  const RecordId id = put_person(*replica_, space_, 3);
  const Status refused = set_field(*replica_, space_, id, "id_number", std::string("990101198001010015"));
  EXPECT_EQ(refused.code(), Code::invalid_record);
  EXPECT_NE(refused.error().message().find("id_number"), std::string::npos);
}

TEST_F(ReplicaTest, ManyTransactionsInOneCommitAreManyTransactions) {
  auto saved = replica_->transact(space_, [&](Write& write) -> Status {
    for (std::size_t i = 0; i < 20; ++i) {
      if (i != 0) write.next_transaction();
      write.set_json(write.create("person"), demo_village().person_json(i));
    }
    return {};
  });
  ASSERT_OK(saved);
  EXPECT_EQ(saved->created.size(), 20u);
  EXPECT_EQ(replica_->pending(space_)->transactions, 20u);
  EXPECT_EQ(*replica_->count(space_, "person"), 20u);
  ASSERT_OK(replica_->verify());
}

TEST_F(ReplicaTest, QueriesByTextFieldRangeAndOrder) {
  for (std::size_t i = 0; i < 20; ++i) put_person(*replica_, space_, i);
  auto all = replica_->query(space_, {.kind = "person", .order_by = "birth_date"});
  ASSERT_OK(all);
  ASSERT_EQ(all->size(), 20u);
  for (std::size_t i = 1; i < all->size(); ++i)
    EXPECT_LE(std::get<Date>((*all)[i - 1].value("birth_date")), std::get<Date>((*all)[i].value("birth_date")));
  const Date middle = std::get<Date>((*all)[10].value("birth_date"));
  auto old = replica_->query(space_, {.kind = "person", .where = {{"birth_date", QueryCondition::Op::less, middle}}});
  ASSERT_OK(old);
  std::size_t expected = 0;
  for (const auto& view : *all) expected += std::get<Date>(view.value("birth_date")) < middle;
  EXPECT_EQ(old->size(), expected);
  auto named = replica_->query(space_, {.kind = "person", .text = demo_village().name(5)});
  ASSERT_OK(named);
  EXPECT_GE(named->size(), 1u);
  EXPECT_EQ(replica_->query(space_, {.kind = "person", .limit = 3, .offset = 2})->size(), 3u);
  EXPECT_EQ(replica_->query(space_, {.kind = "nobody"}).code(), Code::invalid_argument);
}

TEST_F(ReplicaTest, IndexesFollowChanges) {
  const RecordId id = put_person(*replica_, space_, 3);
  const std::string old_name = demo_village().name(3);
  ASSERT_OK(set_field(*replica_, space_, id, "name", std::string("欧阳振东")));
  const auto by_name = [&](const std::string& name) {
    return replica_->query(space_, {.kind = "person", .where = {{"name", QueryCondition::Op::equal, name}}})->size();
  };
  EXPECT_EQ(by_name("欧阳振东"), 1u);
  EXPECT_EQ(by_name(old_name), 0u);
}

TEST_F(ReplicaTest, WrongPassphraseDamageAndASecondProcessAreToldApart) {
  EXPECT_EQ(Replica::open(cheap_options(directory_ / "store", &clock_), "passphrase").code(), Code::busy);
  replica_.reset();
  EXPECT_EQ(Replica::open(cheap_options(directory_ / "store", &clock_), "wrong").code(), Code::wrong_key);
  EXPECT_EQ(Replica::create(cheap_options(directory_ / "store", &clock_), "x").code(), Code::already_exists);
  EXPECT_EQ(Replica::open(cheap_options(directory_ / "nothing", &clock_), "x").code(), Code::not_found);
  {
    std::fstream file(directory_ / "store/main.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(4096 + 100);
    file.put('x');
  }
  auto damaged = Replica::open(cheap_options(directory_ / "store", &clock_), "passphrase");
  EXPECT_TRUE(!damaged.ok() ? damaged.code() == Code::corrupt : damaged->verify().code() == Code::corrupt);
}

TEST_F(ReplicaTest, LockDropsKeysAndUnlockBringsEverythingBack) {
  const RecordId id = put_person(*replica_, space_, 3);
  ASSERT_OK(replica_->lock());
  EXPECT_TRUE(replica_->locked());
  EXPECT_EQ(replica_->get(space_, id).code(), Code::locked);
  EXPECT_EQ(replica_->unlock("wrong").code(), Code::wrong_key);
  ASSERT_OK(replica_->unlock("passphrase"));
  ASSERT_OK(replica_->get(space_, id));
}

TEST_F(ReplicaTest, ObserversHearOfTheirKindAndRecord) {
  std::size_t persons = 0, visits = 0, one = 0;
  auto a = replica_->observe(space_, "person", [&](const std::vector<RecordId>& ids) { persons += ids.size(); });
  auto b = replica_->observe(space_, "home_visit", [&](const std::vector<RecordId>& ids) { visits += ids.size(); });
  const RecordId id = put_person(*replica_, space_, 3);
  {
    auto c = replica_->observe(space_, id, [&] { ++one; });
    ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("3")));
  }
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("2")));
  EXPECT_EQ(persons, 3u);
  EXPECT_EQ(visits, 0u);
  EXPECT_EQ(one, 1u);
}

TEST_F(ReplicaTest, AQueryIsObserved) {
  const RecordId id = put_person(*replica_, space_, 3);
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("1")));
  std::vector<std::vector<RecordId>> answers;
  auto watching = replica_->observe(space_, Query{.kind = "person", .where = {{"self_care", QueryCondition::Op::equal, std::string("3")}}},
                                    [&](const std::vector<RecordView>& views) {
                                      auto& ids = answers.emplace_back();
                                      for (const auto& view : views) ids.push_back(view.id());
                                    });
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("3")));
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("2")));
  EXPECT_EQ(answers, (std::vector<std::vector<RecordId>>{{}, {id}, {}}));
  watching = {};
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("3")));
  EXPECT_EQ(answers.size(), 3u);
}

TEST_F(ReplicaTest, DraftsStayOnTheDeviceAndAreNeverPending) {
  const RecordId draft = replica_->new_draft_id();
  ASSERT_OK(replica_->save_draft(draft, "home_visit", R"({"visit_mode":"1"})"));
  EXPECT_EQ(replica_->pending(space_)->transactions, 0u);
  reopen();
  ASSERT_EQ(replica_->drafts("home_visit")->size(), 1u);
  ASSERT_OK(replica_->discard_draft(draft));
  EXPECT_TRUE(replica_->drafts("home_visit")->empty());
}

TEST_F(ReplicaTest, NothingOnTheDiskIsInTheClear) {
  for (std::size_t i = 0; i < 10; ++i) put_person(*replica_, space_, i);
  std::size_t files = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator(directory_ / "store")) {
    if (!file.is_regular_file()) continue;
    ++files;
    std::ifstream in(file.path(), std::ios::binary);
    std::stringstream bytes;
    bytes << in.rdbuf();
    for (const auto& secret : demo_village().secrets())
      if (secret.size() >= 6) { EXPECT_EQ(bytes.str().find(secret), std::string::npos) << file.path(); }
    EXPECT_EQ(bytes.str().find("SQLite format"), std::string::npos);
  }
  EXPECT_GE(files, 3u);
}

TEST_F(ReplicaTest, AClockOfAnyYearRefusesNothing) {
  clock_.wall = -1'000'000'000'000;
  const RecordId id = put_person(*replica_, space_, 3);
  clock_.wall += std::int64_t{40} * 365 * 86'400'000;
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("3")));
  clock_.wall -= std::int64_t{60} * 365 * 86'400'000;
  ASSERT_OK(set_field(*replica_, space_, id, "self_care", std::string("2")));
  EXPECT_EQ(replica_->get(space_, id)->text("self_care"), "2") << "causality, not the clock, decides";
}

}  // namespace
}  // namespace doorstep
