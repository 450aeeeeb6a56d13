// What the world knows and no program does: which transactions were acknowledged, and who holds a copy of each. A transaction may be
// missing in the end only if the script destroyed every disk that held it.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/sim/relay.hpp"

namespace doorstep::sim {

struct Acknowledged {
  std::size_t writer = 0;  ///< Number of the device's identity: its clones hold it too.
  DeviceId author;
  Counter first = 0;
  std::vector<RecordId> records;
  bool creates = false;
  std::string marker;
  bool destroyed = false;
  // Where it was sealed, once somebody could tell.
  LogId log;  ///< The incarnation's.
  Position position = 0;
  ShortHash hash;
};

/// Whether a device holds it, standing or not, sealed or pending.
bool holds(SimDevice& device, const SpaceId& space, const Acknowledged& transaction);
/// Whether a relay holds the segment that it was sealed in.
bool holds(SimRelay& relay, const SpaceId& space, const Acknowledged& transaction);
/// Notes where it was sealed, if this device knows.
void locate(SimDevice& device, const SpaceId& space, Acknowledged& transaction);

/// For a failure's text: where a device has it.
std::string found_as(SimDevice& device, const SpaceId& space, const Acknowledged& transaction);

/// No (key, nonce) may meet two plaintexts, whoever seals.
class NonceBook {
 public:
  NonceBook();  ///< Sees every sealing of this thread from now on (lab builds).
  ~NonceBook();
  NonceBook(const NonceBook&) = delete;
  NonceBook& operator=(const NonceBook&) = delete;
  std::uint64_t repeated() const { return repeated_; }
  std::uint64_t sealed() const { return sealed_; }

 private:
  void note(ByteView key, ByteView nonce, ByteView plain);
  struct Name {
    std::uint64_t a, b;
    bool operator==(const Name&) const = default;
  };
  struct NameHash {
    std::size_t operator()(const Name& name) const { return name.a ^ name.b * 0x9E3779B97F4A7C15u; }
  };
  std::unordered_map<Name, std::uint64_t, NameHash> seen_;
  std::uint64_t repeated_ = 0, sealed_ = 0;
};

}  // namespace doorstep::sim
