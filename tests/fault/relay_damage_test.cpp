// The relay's store under damaged files. It is plain SQLite: what tells damage is the chain of hashes and signatures over everything
// that it forwards, checked by `verify` and by whoever receives it.
#include <algorithm>
#include <map>

#include <gtest/gtest.h>

#include "server/verify.hpp"
#include "tests/fault/crash_points.hpp"
#include "tests/fault/relay_subject.hpp"
#include "tests/server/memory_store.hpp"

namespace doorstep::fault {
namespace {

using namespace relay;

const std::string database_path = "/relay/relay.db";
const std::string journal_path = "/relay/relay.db-wal";
constexpr std::size_t page = 4096, wal_header = 32, frame = 24 + page;

/// What stands where, for everything that is forwarded.
using Content = std::map<std::pair<std::string, Position>, Bytes>;

Result<Content> content_of(LogStore& store) {
  Content out;
  DOORSTEP_ASSIGN(const auto spaces, store.spaces());
  for (const auto& space : spaces) {
    DOORSTEP_ASSIGN(const auto roster, store.roster(space, 0, SIZE_MAX));
    for (std::size_t i = 0; i < roster.size(); ++i) out[{"roster " + space.hex(), i}] = roster[i];
  }
  DOORSTEP_ASSIGN(const auto logs, store.logs());
  for (const auto& log : logs) {
    DOORSTEP_ASSIGN(const auto segments, store.segments(log.number, 0, SIZE_MAX));
    for (const auto& segment : segments) out[{log.id.hex(), segment.position}] = segment.bytes;
  }
  return out;
}

class RelayDamage : public testing::Test {
 protected:
  static Image life(int steps, bool closed) {
    SimulatedDisk disk;
    RelaySubject subject;
    EXPECT_TRUE(subject.open(disk, true).ok());
    for (int done = -1; done < steps; ++done) EXPECT_TRUE(subject.advance(done).ok());
    if (!closed) return disk.image();
    EXPECT_TRUE(subject.close().ok());
    return disk.image();
  }

  /// Opens as the relay does and verifies as `doorstep-relay verify` does. `content`: what it would forward.
  static Status verify(const Image& image, Content* content = nullptr, int* recovered = nullptr) {
    SimulatedDisk disk(image);
    RelaySubject subject;
    DOORSTEP_TRY(subject.open(disk, false));
    DOORSTEP_TRY(verify_store(subject.store(), [](const Verified&) {}));
    if (recovered) { DOORSTEP_ASSIGN(*recovered, subject.progress()); }
    if (content) { DOORSTEP_ASSIGN(*content, content_of(subject.store())); }
    return {};
  }

  /// Damage is an error, or what is forwarded is nothing but what it was (perhaps less of it, which devices then hand in again).
  static void expect_no_lie(const Image& damaged, const Content& original, const std::string& what) {
    Content now;
    if (!verify(damaged, &now).ok()) return;
    for (const auto& [place, bytes] : now) {
      const auto at = original.find(place);
      ASSERT_TRUE(at != original.end() && at->second == bytes) << what << ": " << place.first << " " << place.second;
    }
  }
};

TEST_F(RelayDamage, AFlippedBitOfASegmentIsSeenByVerifyAndByWhoeverReceivesIt) {
  const Image image = life(12, true);
  SimulatedDisk disk(image);
  RelaySubject subject;
  ASSERT_TRUE(subject.open(disk, false).ok());
  const auto spaces = subject.store().spaces();
  const SpaceId space = spaces->front();
  const auto roster = subject.ledger().load_roster(space, 0, SIZE_MAX);
  Dice dice(3);
  int flipped = 0;
  const auto logs = subject.store().logs();
  for (const auto& log : *logs) {
    if (log.name.branch) continue;
    const auto segments = subject.store().segments(log.number, 0, SIZE_MAX);
    for (const auto& segment : *segments) {
      // Rows of one page only: their bytes stand together in the file.
      const Bytes& file = image.at(database_path);
      const auto at = std::search(file.begin(), file.end(), segment.bytes.begin(), segment.bytes.end());
      if (at == file.end()) continue;
      for (int i = 0; i < 6; ++i) {
        Image damaged = image;
        const auto byte = static_cast<std::size_t>(at - file.begin()) + dice.below(segment.bytes.size());
        damaged[database_path][byte] ^= static_cast<std::uint8_t>(1u << dice.below(8));
        EXPECT_FALSE(verify(damaged).ok()) << "byte " << byte;
        ++flipped;

        // It is forwarded: the relay does not look. The receiver does.
        SimulatedDisk bad_disk(damaged);
        RelaySubject bad;
        ASSERT_TRUE(bad.open(bad_disk, false).ok());
        auto loaded = bad.ledger().load_segments(space, log.id, 0, std::nullopt, SIZE_MAX);
        ASSERT_TRUE(loaded.ok());
        MemoryStore memory;
        Ledger receiver(memory, {});
        ASSERT_TRUE(receiver.load().ok());
        ASSERT_TRUE(receiver.begin().ok());
        ASSERT_TRUE(receiver.append_roster(space, 0, roster)->status.ok());
        const auto carrier = (*receiver.roster(space)).members().begin()->second.keys.transport;
        const auto taken = receiver.append_segments(1, carrier, space, log.name, 1, loaded->segments);
        ASSERT_TRUE(taken.ok());
        EXPECT_NE(taken->stored.refused, Code::ok);
        EXPECT_LT(taken->stored.position, segment.position);
      }
    }
  }
  EXPECT_GT(flipped, 20);
}

TEST_F(RelayDamage, AFlippedBitAnywhereIsNeverAnotherContent) {
  Image image = life(12, true);
  Content original;
  ASSERT_TRUE(verify(image, &original).ok());
  Bytes& file = image[database_path];
  Dice dice(5 + workload());
  for (std::uint64_t i = 0; i < 1200 * campaign(); ++i) {
    const auto at = dice.below(file.size());
    const auto bit = static_cast<std::uint8_t>(1u << dice.below(8));
    file[at] ^= bit;
    ASSERT_NO_FATAL_FAILURE(expect_no_lie(image, original, "byte " + std::to_string(at)));
    file[at] ^= bit;
  }
}

TEST_F(RelayDamage, MovedBlankedAndMissingPagesAreNeverAnotherContent) {
  const Image image = life(20, true);
  Content original;
  ASSERT_TRUE(verify(image, &original).ok());
  const std::size_t size = image.at(database_path).size();
  for (std::size_t at = 0; at < size; at += page) {
    Image damaged = image;
    std::fill_n(damaged[database_path].begin() + static_cast<std::ptrdiff_t>(at), page, std::uint8_t{0});
    ASSERT_NO_FATAL_FAILURE(expect_no_lie(damaged, original, "blank at " + std::to_string(at)));
    damaged = image;
    const std::size_t other = (at + page) % size;
    std::swap_ranges(damaged[database_path].begin() + static_cast<std::ptrdiff_t>(at),
                     damaged[database_path].begin() + static_cast<std::ptrdiff_t>(at + page),
                     damaged[database_path].begin() + static_cast<std::ptrdiff_t>(other));
    ASSERT_NO_FATAL_FAILURE(expect_no_lie(damaged, original, "swapped at " + std::to_string(at)));
    for (const int delta : {-1, 0, 1}) {
      if (at == 0 && delta < 0) continue;
      damaged = image;
      damaged[database_path].resize(at + static_cast<std::size_t>(delta));
      ASSERT_NO_FATAL_FAILURE(expect_no_lie(damaged, original, "cut at " + std::to_string(at)));
    }
  }
}

TEST_F(RelayDamage, PagesOfAnotherCopyAreNeverAnotherContent) {
  const Image image = life(20, true), other = life(9, true);
  Content original;
  ASSERT_TRUE(verify(image, &original).ok());
  const Bytes& from = other.at(database_path);
  const std::size_t size = image.at(database_path).size();
  for (std::size_t at = 0; at + page <= from.size(); at += page)
    for (const std::size_t to : {at, (at + page) % size, size - page}) {
      Image damaged = image;
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(at), page, damaged[database_path].begin() + static_cast<std::ptrdiff_t>(to));
      ASSERT_NO_FATAL_FAILURE(expect_no_lie(damaged, original, "from " + std::to_string(at) + " to " + std::to_string(to)));
    }
}

TEST_F(RelayDamage, ADamagedJournalEndsAtACommit) {
  const Image image = life(20, false);
  ASSERT_TRUE(image.contains(journal_path));
  int whole = -2;
  ASSERT_TRUE(verify(image, nullptr, &whole).ok());
  ASSERT_EQ(whole, 20);
  const std::size_t size = image.at(journal_path).size();
  const auto expect_prefix = [&](const Image& damaged, const std::string& what) {
    SimulatedDisk disk(damaged);
    RelaySubject subject;
    // Nothing was acknowledged: then the store may also have to be made again.
    ASSERT_TRUE(subject.open(disk, true).ok()) << what;
    const auto recovered = subject.progress();
    ASSERT_TRUE(recovered.ok()) << what << ": " << recovered.error().message();
    ASSERT_TRUE(subject.check(*recovered).ok()) << what;
  };
  for (std::size_t at = wal_header; at < size; at += frame) {
    for (const int delta : {-1, 0, 1}) {
      Image damaged = image;
      damaged[journal_path].resize(at + static_cast<std::size_t>(delta));
      ASSERT_NO_FATAL_FAILURE(expect_prefix(damaged, "cut at " + std::to_string(at)));
    }
    if (at + 2 * frame > size) continue;
    Image damaged = image;
    std::swap_ranges(damaged[journal_path].begin() + static_cast<std::ptrdiff_t>(at),
                     damaged[journal_path].begin() + static_cast<std::ptrdiff_t>(at + frame),
                     damaged[journal_path].begin() + static_cast<std::ptrdiff_t>(at + frame));
    ASSERT_NO_FATAL_FAILURE(expect_prefix(damaged, "frames swapped at " + std::to_string(at)));
  }
  Dice dice(9);
  for (int i = 0; i < 200; ++i) {
    Image damaged = image;
    damaged[journal_path][dice.below(size)] ^= static_cast<std::uint8_t>(1u << dice.below(8));
    ASSERT_NO_FATAL_FAILURE(expect_prefix(damaged, "flip " + std::to_string(i)));
  }
}

}  // namespace
}  // namespace doorstep::fault
