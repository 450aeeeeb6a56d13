// One run: the devices, the relays and the network between them live through a script, are healed, and are then judged.
#pragma once

#include <set>
#include <string>

#include "tests/sim/script.hpp"
#include "tests/sim/truth.hpp"

namespace doorstep::sim {

struct Outcome {
  std::string failure, where;  ///< Empty: every oracle is content.
  std::uint64_t digest = 0;    ///< Of everything that happened: equal for equal scripts.
  std::uint64_t events = 0, transactions = 0, destroyed = 0, sessions = 0, power_cuts = 0, rounds = 0;
  bool ok() const { return failure.empty(); }
};

class World {
 public:
  /// `trace` prints what happens as it happens.
  World(const Script& script, bool trace);
  ~World();
  Outcome run();

 private:
  // world.cpp: the village and its script
  void found();
  void act(const Step& step);
  void write(SimDevice& device, const Step& step);
  void edit(SimDevice& device, Dice& dice);
  void resolve(Dice& dice);
  void desk_entry(const Step& step);
  void admit();
  void note_saved(SimDevice& device, const Result<Replica::Saved>& saved, Counter last_before, std::string marker,
                  std::vector<RecordId> records, bool creates);
  void note_rest(SimDevice& device, Counter last_before, const Replica::Saved& saved, const std::string& marker,
                 const std::vector<RecordId>& records);
  std::string next_marker(Dice& dice);

  // disasters.cpp: processes, disks, copies, clocks
  bool ensure_open(SimDevice& device);
  void look_after(SimDevice& device);
  void power_cut(SimDevice& device, std::uint64_t seed);
  void stop(SimDevice& device);
  void clone(SimDevice& device, const Step& step);
  void restore(SimDevice& device, const Step& step);
  void rot(SimDevice& device, const Step& step);
  void lose(SimDevice& device);
  /// Nobody opens it any more. What nobody else holds is destroyed with it.
  void give_up(SimDevice& device);
  bool bring_up(SimRelay& relay);
  void relay_step(SimRelay& relay, const Step& step);
  void power_cut(SimRelay& relay, std::uint64_t seed);
  void stop(SimRelay& relay);
  std::set<const Acknowledged*> held_by(SimDevice& device);
  /// What it held before and does not now is destroyed, unless somebody else holds it.
  void destroyed_with(SimDevice& device, const std::set<const Acknowledged*>& before);
  bool held_elsewhere(const Acknowledged& transaction, const SimDevice* but_not_device, const SimRelay* but_not_relay);

  // syncing.cpp: who talks to whom
  void connect(SimDevice& device, SimRelay& relay, bool stays, Link::As as, int depth = 0);
  void cut_connections(const SimDevice* device, const SimRelay* relay);
  void sweep();
  std::int64_t partitioned_until(const SimDevice& device, const SimRelay& relay, bool up) const;
  void heal();
  void sync_everybody();
  bool is_level();
  std::string who_is_not_level();
  ShortHash held(SpaceSummary summary) const;
  SpaceSummary summary_of(SimRelay& relay) const;

  // judging.cpp: the oracles
  void judge();
  void judge_saved(SimDevice& device);
  void judge_device(SimDevice& device);
  void judge_everywhere();
  void judge_waiting();
  void judge_receipts(SimDevice& device);
  void judge_relay(SimRelay& relay);
  void judge_history();
  void judge_cut();
  bool stands_before_cut(Acknowledged& saved);
  void judge_secrets();
  /// `what` is the kind of failure, the same for every run that fails in that way.
  void fail(std::string what, const std::string& where = {});
  bool is_member(SimDevice& device);  ///< Admitted and not cut: it is to have everything.

  void note(const std::string& what, std::uint64_t number = 0);
  SimDevice& desk() { return *devices_.front(); }
  SpaceState& desk_space() { return **desk().core().space(space_); }
  SimDevice& device_of(const Step& step) { return *devices_[step.who % devices_.size()]; }

  const Script script_;
  const bool trace_;
  NonceBook nonces_;
  Timeline timeline_;
  std::vector<std::unique_ptr<SimRelay>> relays_;
  std::vector<std::unique_ptr<SimDevice>> devices_;  // the desk first
  std::vector<std::unique_ptr<Connection>> connections_;
  SpaceId space_;
  std::vector<Acknowledged> saved_;
  std::vector<RecordId> records_;
  std::map<std::size_t, std::optional<SimRelay::Copy>> relay_backups_;
  struct Partition {
    std::size_t device, relay;
    bool up, down;
    std::int64_t until_ms;
  };
  std::vector<Partition> partitions_;
  std::set<std::size_t> cut_;  // numbers of identities
  bool rights_changed_ = false;
  bool relays_lost_ = false;  ///< A relay forgot something, so it could not tell a restored device of it.
  bool healing_ = false;
  /// Its logs may have branches.
  bool may_fork(const SimDevice& device) const { return device.cloned || (device.restored && (relays_lost_ || relays_.size() > 1)); }
  NetworkFaults network_;
  std::uint64_t connection_count_ = 0;
  Outcome outcome_;
};

}  // namespace doorstep::sim
