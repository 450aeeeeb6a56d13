#include "tests/hostile/siege.hpp"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstdio>
#include <thread>

#include "server/store/sqlite_store.hpp"
#include "tests/hostile/figures.hpp"
#include "tests/server/store_checks.hpp"

namespace doorstep::hostile {

namespace {

using std::chrono::steady_clock;

constexpr int quiet_rounds = 150;
constexpr int suite_seconds = 30;      // an attack has its size; this is a bound for slow machines
constexpr double slow_floor_ms = 300;  // below it nobody waits for anybody
constexpr std::size_t rounds_that_tell = 20;
constexpr std::size_t kept_bytes_max = 12u << 20;  // what the allocator may keep of an attack
// Whoever was not accepted in time may be so after it has left, and then has until the deadline of handshakes.
constexpr int return_ms_max = 30'000, let_in_ms_max = 5'000;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_is_judged = false;
#else
constexpr bool memory_is_judged = true;
#endif

int budget_seconds() {
  const char* text = std::getenv("DOORSTEP_SIEGE_SECONDS");
  return text ? std::atoi(text) : 0;
}

void wait_ms(int ms) { (void)::poll(nullptr, 0, ms); }

bool within(int deadline_ms, const std::function<bool()>& condition) {
  const auto until = steady_clock::now() + std::chrono::milliseconds(deadline_ms);
  while (!condition()) {
    if (steady_clock::now() > until) return false;
    wait_ms(20);
  }
  return true;
}

double mebibytes(std::size_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

}  // namespace

bool full_size() { return budget_seconds() > 0; }

double Siege::Rounds::at(double part) const {
  if (ms.empty()) return 0;
  auto sorted = ms;
  std::sort(sorted.begin(), sorted.end());
  return sorted[static_cast<std::size_t>(part * static_cast<double>(sorted.size() - 1))];
}

Siege::Siege() {
  spdlog::set_level(spdlog::level::err);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
}

void Siege::start(const std::string& config, rlim_t files) {
  ASSERT_TRUE(relay::SqliteStore::create(data_, {authority_.public_key}, false, relay::dice()));
  key_ = (*relay::SqliteStore::open(data_, relay::SqliteStore::Mode::read_only))->identity()->transport.public_key;
  // Few keys attack in many sessions each, as if they were as many members; a line of the siege's own comes after this one.
  const std::string many = "sessions_per_key_max = 1000\n";
  relay_ = std::make_unique<relay::RelayProcess>(data_, relay::RelayTerms{files, many + config, log_});
  ASSERT_NE(relay_->port(), 0);
  ASSERT_TRUE(honest_.connect(relay_->port(), key_));
}

void Siege::enlist(std::size_t count) {
  std::vector<relay::Device*> members;
  for (std::size_t i = 0; i < count; ++i) {
    hostile_devices_.push_back(std::make_unique<relay::Device>());
    members.push_back(hostile_devices_.back().get());
  }
  hostile_village_ = std::make_unique<relay::Village>(authority_, *hostile_devices_.front(),
                                                      std::vector<relay::Device*>(members.begin() + 1, members.end()));
  relay::Replica replica(*hostile_devices_.front());
  replica.learn(*hostile_village_);
  relay::TestClient client(replica);
  client.connect(relay_->port(), key_);
  ASSERT_TRUE(client.until_level());
  client.bye();
}

// ---- The siege ---------------------------------------------------------------------------------------------------------

void Siege::one_round(Rounds& rounds) {
  if (anew_) {
    honest_.leave();
    wait_ms(20);  // for others to take its seat
  }
  const auto start = steady_clock::now();
  if ((anew_ && !let_in()) || !honest_.round())
    rounds.complete = false;
  else
    rounds.ms.push_back(std::chrono::duration<double, std::milli>(steady_clock::now() - start).count());
}

// As a device does, which tries again.
bool Siege::let_in() {
  const auto start = steady_clock::now();
  while (steady_clock::now() - start < std::chrono::milliseconds(let_in_ms_max))
    if (honest_.connect(relay_->port(), key_, 1000)) return true;
  return false;
}

bool Siege::over() const {
  return steady_clock::now() - attack_began_ > std::chrono::seconds(full_size() ? budget_seconds() : suite_seconds);
}

std::size_t Siege::growth_bytes() const {
  const auto now = rss_bytes(relay_->pid());
  return now > quiet_rss_bytes_ ? now - quiet_rss_bytes_ : 0;
}

double Siege::relay_share(int ms) {
  resting_ = true;
  wait_ms(100);  // the round that is under way
  const auto start = steady_clock::now();
  const auto before = cpu_ms(relay_->pid());
  wait_ms(ms);
  const auto used = static_cast<double>(cpu_ms(relay_->pid()) - before);
  const auto took = std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
  resting_ = false;
  return used / took;
}

void Siege::run(const std::function<std::string()>& attack, const Allowance& allowance) {
  Rounds quiet, during;
  for (int i = 0; i < quiet_rounds && quiet.complete; ++i) one_round(quiet);
  ASSERT_TRUE(quiet.complete) << "even in the quiet";
  quiet_descriptors_ = descriptors(relay_->pid());
  quiet_rss_bytes_ = rss_bytes(relay_->pid());
  forget_peak(relay_->pid());

  std::string sent;
  std::atomic<bool> done = false;
  attack_began_ = steady_clock::now();
  std::thread attacker([&] {
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), 19);
    sent = attack();
    done = true;
  });
  while (!done) {
    if (resting_)
      wait_ms(20);
    else if (during.complete)
      one_round(during);
    else
      wait_ms(20);
  }
  attacker.join();
  const auto seconds = std::chrono::duration<double>(steady_clock::now() - attack_began_).count();
  const auto peak = rss_peak_bytes(relay_->pid());
  EXPECT_TRUE(during.complete) << "an honest device did not get through beside the attack";
  if (memory_is_judged) { EXPECT_LE(peak, quiet_rss_bytes_ + allowance.growth_bytes_max) << "bytes of memory at the peak"; }
  if (during.ms.size() >= rounds_that_tell) {
    EXPECT_LE(during.at(0.5), std::max(slow_floor_ms, quiet.at(0.5) * allowance.slower_max)) << "milliseconds, the median";
  }
  come_back();
  // Asio keeps a small object for every socket that was ever open at once, and each may hold a page.
  const auto kept_max = std::max(kept_bytes_max, (peak - quiet_rss_bytes_) / 2);
  const bool back = within(5'000, [&] { return rss_bytes(relay_->pid()) <= quiet_rss_bytes_ + kept_max; });
  const auto after = rss_bytes(relay_->pid());
  EXPECT_TRUE(back || !memory_is_judged) << after << " bytes of memory afterwards, " << quiet_rss_bytes_ << " before";
  std::printf(
      "%s: sent %s in %.0f s; honest rounds %zu, p50 quiet %.1f attack %.1f ms, p95 quiet %.1f attack %.1f ms (x%.2f); RSS quiet %.1f "
      "max %.1f after %.1f MiB; %s\n",
      testing::UnitTest::GetInstance()->current_test_info()->name(), sent.c_str(), seconds, during.ms.size(), quiet.at(0.5), during.at(0.5),
      quiet.at(0.95), during.at(0.95), during.at(0.95) / quiet.at(0.95), mebibytes(quiet_rss_bytes_), mebibytes(peak), mebibytes(after),
      HasFailure() ? "FAILED" : "ok");
  std::fflush(stdout);
}

// Everything is as it was before.
void Siege::come_back() {
  EXPECT_TRUE(within(return_ms_max, [&] { return descriptors(relay_->pid()) <= quiet_descriptors_; }))
      << descriptors(relay_->pid()) << " descriptors, " << quiet_descriptors_ << " before";
  honest_.leave();
  const bool in = let_in();
  EXPECT_TRUE(in) << "honest devices do not get in again";
  if (in) { EXPECT_TRUE(honest_.round()); }
}

void Siege::TearDown() {
  if (!relay_) return;
  const auto receipted = honest_.receipted();
  honest_.leave();
  EXPECT_EQ(relay_->end(SIGTERM), 0);
  relay::expect_sound(data_);
  for (const auto& [log, position] : receipted) EXPECT_GE(relay::durable(data_, log), position);
  std::ifstream said(log_);
  for (std::string line; std::getline(said, line);) ADD_FAILURE() << "the relay said: " << line;
}

}  // namespace doorstep::hostile
