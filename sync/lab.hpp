// What only the build preset `lab` has: bugs planted on purpose, and what the simulator needs to see or to replace inside the
// cryptography. In every other build nothing of it is left.
#pragma once

#ifdef DOORSTEP_LAB

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>

namespace doorstep::lab {

/// The environment names at most one planted bug: DOORSTEP_PLANT=skip_fsync.
inline const char* planted() {
  static const char* const name = std::getenv("DOORSTEP_PLANT");
  return name ? name : "";
}

/// What the simulator replaces or sees.
struct Seams {
  /// Keyed BLAKE2b stands for signatures, key agreement and sealed boxes: whoever knows a public key can do everything, which costs
  /// the simulator nothing, as its liars do not forge.
  bool cheap = false;
  bool cheap_passphrases = false;  ///< The same for Argon2id.
  bool newer_protocol = false;     ///< Sessions that begin now know a version more, and a message that nobody else knows.
  /// Sees every sealing: (key, nonce) must never meet two plaintexts.
  void (*on_seal)(std::span<const std::uint8_t> key, std::span<const std::uint8_t> nonce, std::span<const std::uint8_t> plain) = nullptr;
};
inline thread_local Seams seams;

}  // namespace doorstep::lab

/// True if this is the planted bug. tests/mutants.txt names them all, with the suite that kills each.
#define DOORSTEP_PLANTED(bug)                                                            \
  ([] {                                                                                  \
    static const bool planted_here = std::strcmp(::doorstep::lab::planted(), #bug) == 0; \
    return planted_here;                                                                 \
  }())
#define DOORSTEP_LAB_SEAM(member) (::doorstep::lab::seams.member)

#else

#define DOORSTEP_PLANTED(bug) false
#define DOORSTEP_LAB_SEAM(member) false

#endif
