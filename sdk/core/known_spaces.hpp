// What the vault keeps beside the database (FORMAT.md, "The plain section"): the transport key, and of every space what a store whose
// database is gone needs to come back: which spaces, whom to ask, which logs are ours.
#pragma once

#include "doorstep/replica.hpp"
#include "sdk/core/store_schema.hpp"
#include "sdk/store/database.hpp"
#include "sync/compress.hpp"

namespace doorstep {

/// Of a log of ours: its name but for the device.
struct KnownLog {
  LogNumber n = 0;
  Incarnation incarnation;
  std::optional<Hash> branch;
  Position starts_after = 0;
};

struct KnownSpace {
  SpaceNumber n = 0;
  SpaceId id;
  std::string name, label, invitation;  ///< As the columns of `space`.
  std::vector<RelayAddress> relays;
  Position roster_size = 0;  ///< Whoever has less has lost some. 0: not known.
  std::vector<KnownLog> own_logs;
};

/// The vault's plain section. `spaces` is sealed: which villages a phone works in is nobody's business who finds it.
struct VaultPlain {
  Bytes transport;
  Bytes spaces;
  ~VaultPlain();
};
Bytes encode_vault_plain(const VaultPlain& plain);
/// Also the form of stores that were made before there were known spaces.
Result<VaultPlain> decode_vault_plain(ByteView bytes);

Bytes encode_known_spaces(const std::vector<KnownSpace>& spaces);
Result<std::vector<KnownSpace>> decode_known_spaces(ByteView bytes);
/// Code::too_large if the vault has no room for it.
Result<Bytes> seal_known_spaces(ByteView encoded, const DatabaseKey& key, Compressor& compressor, Random& random);
/// The encoded spaces; empty if there are none.
Result<Bytes> open_known_spaces(ByteView sealed, const DatabaseKey& key, Compressor& compressor);

}  // namespace doorstep
