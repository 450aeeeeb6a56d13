// The vault: the file that holds a store's keys (FORMAT.md, "vault").
//
// A random database key (DEK), the same for the life of the store, is wrapped once per slot: by a passphrase through Argon2id,
// mixed with a secret of the phone's key store where there is one. The DEK opens the database and the sealed secrets (the
// device's identity seed and the like, opaque here). Beside them lies a plain section, readable while locked (transport key, relay
// pins): the caller's bytes, protected against accident by the file's checksum and against nobody else.
//
//   damaged file    -> Code::corrupt     (checksum, structure, or the seal under the right key)
//   wrong key       -> Code::wrong_key   (the file is whole)
//   weakened file   -> Code::unsupported (Argon2 parameters below the floor, unknown version or suite)
#pragma once

#include <memory>

#include "sdk/store/database.hpp"
#include "sync/crypto.hpp"

namespace doorstep {

/// Less is refused, at creation and in a file. (OWASP's minimum for Argon2id.)
inline constexpr Argon2Parameters argon2_floor{19 * 1024, 2};
/// A default for a phone of 2018 with 2 GB; calibrate upwards at set-up, then it stands in the slot.
inline constexpr Argon2Parameters argon2_default{64 * 1024, 2};
/// More is refused: a hostile file must not hang the phone or take all its memory.
inline constexpr Argon2Parameters argon2_ceiling{1024 * 1024, 64};

inline constexpr std::size_t vault_slots_max = 8;
inline constexpr std::size_t vault_secrets_bytes_max = 4096;
inline constexpr std::size_t vault_plain_bytes_max = 64u << 10;

/// What a person and a phone put in. Views: valid for the call only.
struct Credentials {
  ByteView passphrase;
  ByteView keystore_secret = {};  ///< Empty: a slot without a key store.
};

enum class VaultCopy { current, previous };

class Vault {
 public:
  /// Makes the keys and the file. Code::already_exists if there is a vault: it is never replaced.
  static Result<Vault> create(std::shared_ptr<StoreDirectory> directory, const Credentials& credentials, ByteView secrets, ByteView plain,
                              Random& random, const Argon2Parameters& parameters = argon2_default);
  /// Reads and checks the file; stays locked. Never falls back to `vault.prev` by itself: the error says whether that one is whole.
  static Result<Vault> load(std::shared_ptr<StoreDirectory> directory, Random& random, VaultCopy copy = VaultCopy::current);
  static bool exists(const StoreDirectory& directory);

  /// Tries every slot that the credentials may fit (a key store's secret is not needed for a slot without one). Takes as long
  /// as Argon2id was told to, per slot.
  Status unlock(const Credentials& credentials);
  /// With a key that somebody unwrapped before (a key store, a benchmark): no Argon2id. Code::wrong_key if it is not this store's.
  Status open_with_key(const SymmetricKey& key);
  /// Wipes key and secrets from memory.
  void lock();
  bool unlocked() const { return open_ != nullptr; }

  const FileId& file_id() const { return content_.file_id; }
  std::size_t slot_count() const { return content_.slots.size(); }
  /// How often the sealed part has been written; rises.
  std::uint64_t generation() const { return content_.generation; }
  /// True if some slot asks for a key store's secret.
  bool wants_keystore() const;

  /// Code::locked while locked.
  Result<DatabaseKey> database_key() const;
  /// The sealed secrets, in guarded memory; valid until lock(), set_secrets() or destruction. Code::locked while locked.
  Result<ByteView> secrets() const;
  ByteView plain() const { return content_.plain; }

  // Writes. Each is atomic and durable when it returns. On an error the vault in memory is as before, and the file is the old or
  // the new one, whole. Refused with Code::conflict after load(…, previous): restore() first.
  Status set_secrets(ByteView secrets);
  /// Works while locked.
  Status set_plain(ByteView plain);
  /// Re-wraps the database key in the slot that `old_credentials` open; nothing else is re-encrypted. `vault.prev` is replaced
  /// too: the old passphrase opens no copy that this store keeps.
  Status change_credentials(const Credentials& old_credentials, const Credentials& new_credentials,
                            const Argon2Parameters& parameters = argon2_default);
  /// A second way in (say a recovery passphrase). Needs an unlocked vault.
  Status add_slot(const Credentials& credentials, const Argon2Parameters& parameters = argon2_default);
  /// Removes the slot that `credentials` open; Code::invalid_argument for the last one.
  Status remove_slot(const Credentials& credentials);
  /// After load(…, previous): makes this copy the current one. The file that it replaces is kept as `vault.damaged`.
  Status restore();

 private:
  struct Slot {
    std::uint8_t kind = 0;
    std::uint8_t id = 0;  // rises along the file
    Argon2Parameters parameters;
    Argon2Salt salt;
    Nonce nonce;
    std::array<std::uint8_t, 32 + aead_tag_bytes> wrapped{};
  };
  /// The file, as read or as it will be written.
  struct Content {
    FileId file_id;
    std::uint64_t generation = 0;
    Hash check_value;
    std::vector<Slot> slots;
    Bytes sealed_secrets;  // nonce ‖ ciphertext ‖ tag
    Hash seal;
    Bytes plain;
  };
  struct Open {
    SymmetricKey key;
    Secret<vault_secrets_bytes_max> secrets;
    std::size_t secrets_size = 0;
  };
  enum class Previous { keep, replace };  ///< What happens to `vault.prev` at a write (V2).
  friend struct VaultFormat;

  Vault(std::shared_ptr<StoreDirectory> directory, Random& random) : directory_(std::move(directory)), random_(&random) {}
  Status accept_key(const SymmetricKey& key);
  Result<std::size_t> find_slot(const Credentials& credentials, SymmetricKey& key) const;
  Status require_unlocked() const;
  /// Raises the generation, seals and writes `changed`, then takes it over.
  Status commit_sealed(Content changed, Previous previous);
  Status write(const Content& changed, Previous previous) const;

  std::shared_ptr<StoreDirectory> directory_;
  Random* random_;
  Content content_;
  VaultCopy copy_ = VaultCopy::current;
  std::unique_ptr<Open> open_;
};

}  // namespace doorstep
