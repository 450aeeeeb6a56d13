// A siege: the relay as a process, honest devices that sync all the time, and an attack beside them. The same oracle for every attack:
//
//   before   rounds of the honest devices are measured in the quiet, what the relay holds is noted
//   during   rounds go on; the relay's peak of memory is kept
//   after    every descriptor is free again, memory is back, a device gets in within seconds, the relay stops with 0, has said nothing of
//            defects, everything it holds proves itself, and every receipt is true
//
// Sizes: the suite's by default, small ones that last seconds; with DOORSTEP_SIEGE_SECONDS (tests/hostile/campaign) the full ones,
// each cut off after that time. Every siege ends in one line.
#pragma once

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "tests/hostile/attacker.hpp"
#include "tests/hostile/honest.hpp"
#include "tests/server/folder.hpp"
#include "tests/server/relay_process.hpp"

namespace doorstep::hostile {

/// True under tests/hostile/campaign.
bool full_size();
/// The suite's size, or the campaign's.
template <class T>
T sized(T suite, T campaign) {
  return full_size() ? campaign : suite;
}

/// What an attack may cost.
struct Allowance {
  /// The relay's memory may grow by so much, beyond what `growth_by` measured. Not judged under a sanitizer, whose memory is its own.
  std::size_t growth_bytes_max = 32u << 20;
  /// The honest devices' median may be so many times the quiet one: generous, for a busy machine must not fail a suite. The line has p95.
  double slower_max = 12;
};

class Siege : public testing::Test {
 protected:
  Siege();
  void TearDown() override;

  /// Starts the relay with these lines of configuration; the honest devices connect.
  void start(const std::string& config = {}, rlim_t files = 0);
  /// The attack runs on a thread of its own, at a low priority: its processor time is not the relay's. It returns what it sent, in words.
  void run(const std::function<std::string()>& attack, const Allowance& allowance = {});

  // For attacks ---------------------------------------------------------------------------------------------------------
  Target target() const { return {relay_->port(), key_}; }
  pid_t relay_pid() const { return relay_->pid(); }
  /// The attack's time is over: it should come to its end.
  bool over() const;
  /// What the relay's memory has grown by since the quiet.
  std::size_t growth_bytes() const;
  /// The relay's share of one processor over so many milliseconds, in which honest devices rest.
  double relay_share(int ms);

  /// `count` attackers who are members of one village, which the relay knows from now on.
  void enlist(std::size_t count);
  /// From now on the honest devices come anew for every round, instead of staying connected.
  void come_anew() { anew_ = true; }
  const TransportKeyPair& attacker(std::size_t number) const { return hostile_devices_[number % hostile_devices_.size()]->transport; }

  /// Where attackers are members, apart from the honest: what they hand in hurts only their own.
  std::vector<std::unique_ptr<relay::Device>> hostile_devices_;
  std::unique_ptr<relay::Village> hostile_village_;

 private:
  struct Rounds {
    std::vector<double> ms;
    bool complete = true;
    double at(double part) const;
  };
  void one_round(Rounds& rounds);
  bool let_in();
  void come_back();

  IdentityKeyPair authority_ = make_identity_key_pair(relay::dice());
  HonestDevices honest_{authority_};
  relay::Folder folder_;
  const std::string data_ = folder_.path() + "/relay", log_ = folder_.path() + "/log";
  TransportPublicKey key_;
  std::unique_ptr<relay::RelayProcess> relay_;
  std::size_t quiet_rss_bytes_ = 0, quiet_descriptors_ = 0;
  std::chrono::steady_clock::time_point attack_began_;
  std::atomic<bool> resting_ = false;
  bool anew_ = false;
};

}  // namespace doorstep::hostile
