// The tool and the relay killed at random moments, and disks that are full: what was acknowledged is there afterwards.
//
//   DOORSTEP_KILLS=n       so many rounds    (tests/fault/campaign kills)
//   DOORSTEP_KILL_SEED=n   other moments
#include <cstdlib>
#include <functional>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tests/e2e/village.hpp"

namespace doorstep::e2e {
namespace {

std::uint32_t number_from(const char* variable, std::uint32_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? static_cast<std::uint32_t>(std::strtoul(text, nullptr, 10)) : otherwise;
}

/// The same sequence in every run of a test; a failure names the round.
class Dice {
 public:
  explicit Dice(std::uint32_t seed) : engine_(seed + 1000 * number_from("DOORSTEP_KILL_SEED", 0)) {}
  int below(int bound) { return static_cast<int>(engine_() % static_cast<std::uint32_t>(bound)); }

 private:
  std::mt19937 engine_;
};

std::set<std::string> ids_in(const Device& device) {
  const auto all = lines(device.text({"list", "person", "--ids"}));
  return {all.begin(), all.end()};
}

/// Reads ids until the process has ended; they were printed before the kill, so they were durable.
void drain_ids(Process& writer, std::set<std::string>& acknowledged) {
  while (const auto id = writer.line(10'000))
    if (id->size() == 32) acknowledged.insert(*id);
}

/// Kills a device at a moment that chance chooses: while it starts (the key, recovery, the checkpoint behind it), or some lines after
/// that and up to three milliseconds more, to end inside a commit as well as between two.
void kill_at_random(Process& device, Dice& dice, const std::function<bool()>& next_line) {
  if (dice.below(4) == 0) {
    usleep(static_cast<useconds_t>(dice.below(250'000)));  // a random moment
  } else {
    for (int wait = dice.below(12); wait > 0 && next_line(); --wait) {}
    usleep(static_cast<useconds_t>(dice.below(3000)));  // a random moment
  }
  device.kill(SIGKILL);
}

// It writes, seals and sends, appends to the roster, or only reads.
TEST_F(CliRelayTest, ADeviceKilledAHundredTimesKeepsWhatItAcknowledged) {
  Dice dice(1);
  std::set<std::string> acknowledged;
  std::string batch;
  for (int i = 0; i < 40; ++i) batch += person_json("陈桂兰") + "\n";
  const auto expect_all = [&] {
    const auto present = ids_in(*desk_);
    for (const auto& id : acknowledged) ASSERT_TRUE(present.contains(id)) << id;
  };
  const auto wanted = number_from("DOORSTEP_KILLS", 100);
  for (std::uint32_t kills = 0, round = 0; kills < wanted; ++round) {
    ASSERT_LT(round, 4 * wanted + 40) << "too few of them were killed: " << kills;
    SCOPED_TRACE(round);
    const int what = dice.below(10);
    if (what < 6) {
      Process writer(desk_->command({"put", "person", "--json", "-"}));
      ASSERT_TRUE(writer.write(batch));
      kill_at_random(writer, dice, [&] {
        const auto id = writer.line();
        if (id) acknowledged.insert(*id);
        return id.has_value();
      });
      drain_ids(writer, acknowledged);
      ASSERT_EQ(writer.finish().code, 128 + SIGKILL) << writer.finish().err;
      ++kills;
    } else {
      Process other(desk_->command(what < 8    ? std::vector<std::string>{"--json", "sync"}
                                   : what == 8 ? std::vector<std::string>{"invite"}
                                               : std::vector<std::string>{"pending"}));
      kill_at_random(other, dice, [&] { return other.error_line(10).has_value(); });
      if (other.finish().code == 128 + SIGKILL) ++kills;  // else it was faster, and does not count
    }
    if (round % 10 == 9) { ASSERT_NO_FATAL_FAILURE(expect_all()); }
  }
  desk_->text({"verify"});
  desk_->text({"sync", "--quiet"});
  ASSERT_NO_FATAL_FAILURE(expect_all());
  EXPECT_GT(acknowledged.size(), wanted);
  EXPECT_EQ(desk_->run({"pending", "--check"}).code, ok);
  EXPECT_EQ(desk_->run({"quarantine", "--check"}).code, ok);
  relay_->kill(SIGTERM);
  EXPECT_EQ(run({"doorstep-relay", "verify", "--data", folder_ / "relay"}).code, 0);
}

TEST_F(CliRelayTest, DeviceAndRelayKilledFiftyTimesWhileSyncing) {
  const Device phone = join_phone("phone", "兰");
  Dice dice(2);
  std::set<std::string> acknowledged;
  std::string batch;
  for (int i = 0; i < 20; ++i) batch += person_json("陈桂兰") + "\n";
  for (int round = 0; round < 50; ++round) {
    SCOPED_TRACE(round);
    const Device& device = round % 2 ? phone : *desk_;
    for (const auto& id : lines(device.text({"put", "person", "--json", "-"}, batch))) acknowledged.insert(id);
    Process syncing(device.command({"--json", "sync"}));
    // Its progress tells how far it is; a random number of lines later, and a random while after that, one of the two is killed.
    for (int wait = dice.below(4); wait > 0; --wait)
      if (!syncing.error_line(5)) break;
    if (dice.below(3) == 0) {
      relay_->kill(SIGKILL);
      syncing.kill(SIGKILL);
      syncing.finish();
      relay_->start();
    } else {
      syncing.kill(SIGKILL);
      syncing.finish();
    }
  }
  for (int i = 0; i < 2; ++i) {
    phone.text({"sync", "--quiet"});
    desk_->text({"sync", "--quiet"});
  }
  phone.text({"sync", "--quiet"});
  EXPECT_EQ(acknowledged.size(), 1000u);
  EXPECT_EQ(phone.text({"digest"}), desk_->text({"digest"}));
  for (const Device* device : std::vector<const Device*>{desk_.get(), &phone}) {
    EXPECT_EQ(ids_in(*device), acknowledged);
    EXPECT_EQ(device->run({"pending", "--check"}).code, ok);
    EXPECT_EQ(device->run({"quarantine", "--check"}).code, ok);
    device->text({"verify"});
  }
  relay_->kill(SIGTERM);
  EXPECT_EQ(run({"doorstep-relay", "verify", "--data", folder_ / "relay"}).code, 0);
}

/// A file system of its own size, for those who may mount.
class SmallDisk {
 public:
  SmallDisk(std::string folder, const char* size) : folder_(std::move(folder)) {
    std::filesystem::create_directory(folder_);
    mounted_ = mount("tmpfs", folder_.c_str(), "tmpfs", 0, (std::string("size=") + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) umount2(folder_.c_str(), MNT_DETACH);
  }
  bool there() const { return mounted_; }
  bool resize(const char* size) const {
    return mount("tmpfs", folder_.c_str(), "tmpfs", MS_REMOUNT, (std::string("size=") + size).c_str()) == 0;
  }

 private:
  std::string folder_;
  bool mounted_ = false;
};

TEST_F(CliTest, AFullDiskIsASentenceAndNothingIsLost) {
  const SmallDisk disk(folder_ / "disk", "1200k");
  if (!disk.there()) GTEST_SKIP() << "mounting a small disk takes root";
  const Device desk(folder_ / "disk/desk", folder_ / "passphrase");
  desk.text({"init"});
  desk.text({"space", "found", "--name", "村"});
  std::string batch;
  for (int i = 0; i < 2000; ++i) batch += person_json("陈桂兰") + "\n";
  const std::string input = file("batch", batch);
  // Through a shell, as the input is larger than a pipe and the writer stops in the middle.
  std::string command;
  for (const auto& word : desk.command({"--json", "put", "person", "--json", "-"}))
    command += "'" + (command.empty() ? (bin_dir() / word).string() : word) + "' ";
  const Finished done = run({"/bin/sh", "-c", command + "< '" + input + "'"});
  EXPECT_EQ(done.code, disk_full) << done.err;
  const json error = json::parse(lines(done.err).back(), nullptr, false);
  EXPECT_EQ(error.value("code", ""), "full");
  EXPECT_EQ(error.value("retryable", false), true);
  std::set<std::string> acknowledged;
  for (const auto& line : lines(done.out)) acknowledged.insert(json::parse(line)["id"].get<std::string>());
  EXPECT_GT(acknowledged.size(), 20u);
  EXPECT_LT(acknowledged.size(), 2000u);

  ASSERT_TRUE(disk.resize("32m"));
  const auto present = ids_in(desk);
  for (const auto& id : acknowledged) EXPECT_TRUE(present.contains(id)) << id;
  desk.text({"verify"});
  desk.text({"put", "person", "--json", person_json("王小明")});
}

}  // namespace
}  // namespace doorstep::e2e
