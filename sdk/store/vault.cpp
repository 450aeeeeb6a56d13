// The vault's file: FORMAT.md has every byte and the invariants V1…V5. Decoding comes first, then keys, then the writes.
#include "sdk/store/vault.hpp"

#include <algorithm>

#include "sync/lab.hpp"

namespace doorstep {

namespace {

constexpr std::string_view vault_magic = "DOORSTEP";
constexpr std::uint16_t format_version = 1;
constexpr std::size_t header_bytes = 72;
constexpr std::size_t key_slot_bytes = 112;
constexpr std::size_t seal_bytes_of_secrets = 24 + aead_tag_bytes;
constexpr std::size_t vault_bytes_max =
    header_bytes + vault_slots_max * key_slot_bytes + seal_bytes_of_secrets + vault_secrets_bytes_max + 32 + 4 + vault_plain_bytes_max + 32;

enum SlotKind : std::uint8_t { slot_passphrase = 1, slot_passphrase_keystore = 2 };
constexpr std::uint8_t kdf_argon2id = 1;

const char* file_name(VaultCopy copy) { return copy == VaultCopy::current ? "vault" : "vault.prev"; }
std::uint8_t kind_of(const Credentials& credentials) {
  return credentials.keystore_secret.empty() ? slot_passphrase : slot_passphrase_keystore;
}

void put(Bytes& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

std::uint64_t get(ByteView bytes, std::size_t at, std::size_t count) {
  std::uint64_t out = 0;
  for (std::size_t i = 0; i < count; ++i) out |= std::uint64_t{bytes[at + i]} << (8 * i);
  return out;
}

Error damaged(const std::string& what) { return Error(Code::corrupt, "the vault is damaged: " + what + ". Nothing was changed"); }

Status check_parameters(const Argon2Parameters& parameters, Code code) {
  const bool weak = parameters.memory_kib < argon2_floor.memory_kib || parameters.passes < argon2_floor.passes;
  const bool excessive = parameters.memory_kib > argon2_ceiling.memory_kib || parameters.passes > argon2_ceiling.passes;
  if (!weak && !excessive) return {};
  return Error(
      code,
      "Argon2id with " + std::to_string(parameters.memory_kib) + " KiB and " + std::to_string(parameters.passes) + " passes is " +
          (weak ? "weaker than this program allows (19456 KiB, 2 passes)" : "more than this program allows (1048576 KiB, 64 passes)") +
          (code == Code::invalid_argument ? "" : ": somebody may have changed the vault, so it is not opened"));
}

}  // namespace

// ---- The file

struct VaultFormat {
  using Content = Vault::Content;
  using Slot = Vault::Slot;

  static void put_bound(Bytes& out, const Slot& slot) {
    out.push_back(slot.kind);
    out.push_back(kdf_argon2id);
    out.push_back(slot.id);
    put(out, 0, 1);
    put(out, slot.parameters.memory_kib, 4);
    put(out, slot.parameters.passes, 4);
    put(out, 0, 4);
    append(out, slot.salt.view());
  }

  static Bytes associated(const Content& content, const Slot& slot) {
    Bytes out = to_bytes(view("doorstep/1/vault-slot"));
    put(out, format_version, 2);
    out.push_back(suite_libsodium);
    append(out, content.file_id.view());
    put_bound(out, slot);
    return out;
  }

  static Bytes sealed_part(const Content& content) {
    Bytes out = to_bytes(view(vault_magic));
    put(out, format_version, 2);
    out.push_back(suite_libsodium);
    out.push_back(static_cast<std::uint8_t>(content.slots.size()));
    put(out, content.sealed_secrets.size(), 4);
    append(out, content.file_id.view());
    put(out, content.generation, 8);
    append(out, content.check_value.view());
    for (const Slot& slot : content.slots) {
      put_bound(out, slot);
      append(out, slot.nonce.view());
      append(out, slot.wrapped);
      put(out, 0, 8);
    }
    append(out, content.sealed_secrets);
    return out;
  }

  static Bytes encode(const Content& content) {
    Bytes out = sealed_part(content);
    append(out, content.seal.view());
    put(out, content.plain.size(), 4);
    append(out, content.plain);
    append(out, hash("doorstep/1/vault-checksum", {ByteView(out)}).view());
    return out;
  }

  // What is wrong with the file as a whole, before anything in it is believed.
  static Status check_whole(ByteView file) {
    if (file.size() < header_bytes + 32 || !equal(file.first(8), view(vault_magic))) return damaged("it does not begin as a vault does");
    const bool intact = equal(hash("doorstep/1/vault-checksum", {file.first(file.size() - 32)}).view(), file.last(32));
    const auto version = static_cast<std::uint16_t>(get(file, 8, 2));
    if (intact && version > format_version)
      return Error(Code::unsupported, "the vault was written by a newer version of the program (format " + std::to_string(version) +
                                          "): update the program. Nothing was changed");
    if (!intact) return damaged("its checksum does not match");
    if (version != format_version) return damaged("its format number is " + std::to_string(version));
    if (file[10] != suite_libsodium)
      return Error(Code::unsupported, "the vault uses cipher suite " + std::to_string(file[10]) + ", which this program does not have");
    return {};
  }

  static Result<Slot> decode_slot(ByteView bytes) {
    Slot slot;
    slot.kind = bytes[0];
    if (slot.kind != slot_passphrase && slot.kind != slot_passphrase_keystore) return damaged("a key slot has an unknown kind");
    if (bytes[1] != kdf_argon2id) return Error(Code::unsupported, "a key slot uses a key derivation that this program does not have");
    if (bytes[3] != 0 || get(bytes, 12, 4) != 0 || get(bytes, 104, 8) != 0) return damaged("a key slot has stray bytes");
    slot.id = bytes[2];
    slot.parameters = {static_cast<std::uint32_t>(get(bytes, 4, 4)), static_cast<std::uint32_t>(get(bytes, 8, 4))};
    DOORSTEP_TRY(check_parameters(slot.parameters, Code::unsupported));  // V4
    slot.salt = Argon2Salt::from(bytes.subspan(16, 16));
    slot.nonce = Nonce::from(bytes.subspan(32, 24));
    std::copy_n(bytes.begin() + 56, slot.wrapped.size(), slot.wrapped.begin());
    return slot;
  }

  static Result<Content> decode(ByteView file) {
    DOORSTEP_TRY(check_whole(file));
    const std::size_t slots = file[11];
    const std::size_t secrets = get(file, 12, 4);
    if (slots < 1 || slots > vault_slots_max) return damaged("it has " + std::to_string(slots) + " key slots");
    if (secrets < seal_bytes_of_secrets || secrets > seal_bytes_of_secrets + vault_secrets_bytes_max)
      return damaged("its secrets have an impossible size");
    const std::size_t plain_at = header_bytes + slots * key_slot_bytes + secrets + 32 + 4;
    if (file.size() < plain_at + 32) return damaged("it is too short");
    if (get(file, plain_at - 4, 4) > vault_plain_bytes_max || file.size() != plain_at + get(file, plain_at - 4, 4) + 32)
      return damaged("its size is not what it says");
    Content out;
    out.file_id = FileId::from(file.subspan(16, 16));
    out.generation = get(file, 32, 8);
    out.check_value = Hash::from(file.subspan(40, 32));
    for (std::size_t i = 0; i < slots; ++i) {
      DOORSTEP_ASSIGN(const Slot slot, decode_slot(file.subspan(header_bytes + i * key_slot_bytes, key_slot_bytes)));
      if (i > 0 && slot.id <= out.slots.back().id) return damaged("its key slots are out of order");
      out.slots.push_back(slot);
    }
    const std::size_t secrets_at = header_bytes + slots * key_slot_bytes;
    out.sealed_secrets = to_bytes(file.subspan(secrets_at, secrets));
    out.seal = Hash::from(file.subspan(secrets_at + secrets, 32));
    out.plain = to_bytes(file.subspan(plain_at, file.size() - 32 - plain_at));
    return out;
  }

  // ---- What the database key answers for

  static Hash check_value(const SymmetricKey& key, const Content& content) {
    return keyed_hash(key, "doorstep/1/vault-check", {content.file_id.view()});
  }
  static Hash seal(const SymmetricKey& key, const Content& content) {
    const SymmetricKey seal_key = derive_key(key, "doorstep/1/vault-seal", {content.file_id.view()});
    return keyed_hash(seal_key, "doorstep/1/vault-seal", {ByteView(sealed_part(content))});
  }
  static SymmetricKey secrets_key(const SymmetricKey& key, const Content& content) {
    return derive_key(key, "doorstep/1/vault-secrets", {content.file_id.view()});
  }
  static Bytes seal_secrets(const SymmetricKey& key, const Content& content, ByteView secrets, Random& random) {
    const Nonce nonce = random.make<Nonce>();
    Bytes out = to_bytes(nonce.view());
    append(out, aead_seal(secrets_key(key, content), nonce, secrets, content.file_id.view()));
    return out;
  }

  // ---- Slots

  static Result<SymmetricKey> wrapping_key(const Slot& slot, const Credentials& credentials) {
    DOORSTEP_ASSIGN(const SymmetricKey stretched, argon2id(credentials.passphrase, slot.salt, slot.parameters));
    const ByteView keystore = slot.kind == slot_passphrase_keystore ? credentials.keystore_secret : ByteView();
    return derive_key(stretched, "doorstep/1/vault-kek", {ByteView(&slot.kind, 1), keystore});
  }

  static Result<Slot> wrap(const Content& content, std::uint8_t id, const SymmetricKey& key, const Credentials& credentials,
                           const Argon2Parameters& parameters, Random& random) {
    DOORSTEP_TRY(check_parameters(parameters, Code::invalid_argument));
    if (credentials.passphrase.empty()) return Error(Code::invalid_argument, "the passphrase is empty: choose one");
    Slot slot;
    slot.kind = kind_of(credentials);
    slot.id = id;
    slot.parameters = parameters;
    slot.salt = random.make<Argon2Salt>();
    slot.nonce = random.make<Nonce>();
    DOORSTEP_ASSIGN(const SymmetricKey kek, wrapping_key(slot, credentials));
    const std::span<std::uint8_t> wrapped(slot.wrapped);
    aead_seal_detached(kek, slot.nonce, key.reveal(), associated(content, slot), wrapped.first(32), wrapped.last<aead_tag_bytes>());
    return slot;
  }

  static Result<bool> unwrap(const Content& content, const Slot& slot, const Credentials& credentials, SymmetricKey& key) {
    DOORSTEP_ASSIGN(const SymmetricKey kek, wrapping_key(slot, credentials));
    const std::span<const std::uint8_t> wrapped(slot.wrapped);
    return aead_open_detached(kek, slot.nonce, wrapped.first(32), wrapped.last<aead_tag_bytes>(), associated(content, slot),
                              key.reveal_mutable());
  }

  static bool fits(const Slot& slot, const Credentials& credentials) {
    return slot.kind == slot_passphrase || !credentials.keystore_secret.empty();
  }

  // The lowest id that is free; ids stand in rising order.
  static std::uint8_t free_id(const Content& content) {
    std::uint8_t id = 0;
    for (const Slot& slot : content.slots)
      if (slot.id == id) ++id;
    return id;
  }
};

// ---- Creating and reading

bool Vault::exists(const StoreDirectory& directory) { return directory.files().size(directory.file("vault")).code() != Code::not_found; }

Result<Vault> Vault::create(std::shared_ptr<StoreDirectory> directory, const Credentials& credentials, ByteView secrets, ByteView plain,
                            Random& random, const Argon2Parameters& parameters) {
  for (const char* name : {"vault", "vault.prev", "main.db"})
    if (directory->files().size(directory->file(name)).code() != Code::not_found)
      return Error(Code::already_exists, "there is a " + std::string(name) + " in " + directory->path() +
                                             " already: open that store, or choose another directory");
  if (secrets.size() > vault_secrets_bytes_max || plain.size() > vault_plain_bytes_max)
    return Error(Code::too_large, "a vault holds at most 4096 bytes of secrets and 65536 bytes beside them");
  DOORSTEP_TRY(directory->sync_name());
  Vault out(std::move(directory), random);
  const SymmetricKey key = make_symmetric_key(random);
  Content content;
  content.file_id = random.make<FileId>();
  content.check_value = VaultFormat::check_value(key, content);
  content.plain = to_bytes(plain);
  DOORSTEP_ASSIGN(const Slot slot, VaultFormat::wrap(content, 0, key, credentials, parameters, random));
  content.slots.push_back(slot);
  content.sealed_secrets = VaultFormat::seal_secrets(key, content, secrets, random);
  content.seal = VaultFormat::seal(key, content);
  out.content_ = content;
  DOORSTEP_TRY(out.accept_key(key));
  DOORSTEP_TRY(out.commit_sealed(std::move(content), Previous::keep));
  return out;
}

Result<Vault> Vault::load(std::shared_ptr<StoreDirectory> directory, Random& random, VaultCopy copy) {
  Files& files = directory->files();
  const auto read = [&](VaultCopy which) -> Result<Content> {
    DOORSTEP_ASSIGN(const Bytes file, files.read(directory->file(file_name(which)), vault_bytes_max));
    return VaultFormat::decode(file);
  };
  Result<Content> content = read(copy);
  if (!content.ok() && (content.code() == Code::too_large || content.code() == Code::corrupt)) {
    std::string sentence = content.error().message();
    if (copy == VaultCopy::current && read(VaultCopy::previous).ok())
      sentence +=
          ". The copy before it (vault.prev) is whole and can be restored (RebuildOptions::restore_vault); it may lack what was changed "
          "last";
    return Error(Code::corrupt, sentence);
  }
  if (content.code() == Code::not_found)
    return Error(Code::not_found, "there is no " + std::string(file_name(copy)) + " in " + directory->path() +
                                      ": choose the store's directory, or make a new store");
  if (!content.ok()) return content.error();
  Vault out(std::move(directory), random);
  out.content_ = std::move(*content);
  out.copy_ = copy;
  return out;
}

bool Vault::wants_keystore() const {
  return std::any_of(content_.slots.begin(), content_.slots.end(), [](const Slot& slot) { return slot.kind == slot_passphrase_keystore; });
}

// ---- Unlocking

Status Vault::accept_key(const SymmetricKey& key) {
  if (!equal_secret(VaultFormat::check_value(key, content_).view(), content_.check_value.view()))
    return Error(Code::wrong_key, "that key is not this store's key");
  if (!equal_secret(VaultFormat::seal(key, content_).view(), content_.seal.view()))
    return damaged("its seal does not hold, so somebody has rearranged it");
  auto open = std::make_unique<Open>();
  open->key = key.duplicate();
  open->secrets_size = content_.sealed_secrets.size() - seal_bytes_of_secrets;
  const ByteView sealed(content_.sealed_secrets);
  const bool good =
      aead_open_detached(VaultFormat::secrets_key(key, content_), Nonce::from(sealed.first(24)), sealed.subspan(24, open->secrets_size),
                         sealed.last<aead_tag_bytes>(), content_.file_id.view(), open->secrets.reveal_mutable().first(open->secrets_size));
  if (!good) return damaged("its sealed secrets do not open");
  open_ = std::move(open);
  return {};
}

Result<std::size_t> Vault::find_slot(const Credentials& credentials, SymmetricKey& key) const {
  for (std::size_t i = 0; i < content_.slots.size(); ++i) {
    if (!VaultFormat::fits(content_.slots[i], credentials)) continue;
    DOORSTEP_ASSIGN(const bool opened, VaultFormat::unwrap(content_, content_.slots[i], credentials, key));
    if (opened) return i;
  }
  const bool other_kind = credentials.keystore_secret.empty() && wants_keystore();
  return Error(Code::wrong_key, other_kind ? "the passphrase is wrong, or this store also needs the phone's key store: try again"
                                           : "the passphrase is wrong: try again");
}

Status Vault::unlock(const Credentials& credentials) {
  SymmetricKey key;
  DOORSTEP_TRY(find_slot(credentials, key));
  return accept_key(key);
}

Status Vault::open_with_key(const SymmetricKey& key) { return accept_key(key); }
void Vault::lock() { open_.reset(); }

Status Vault::require_unlocked() const {
  if (open_) return {};
  return Error(Code::locked, "the store is locked: unlock it first");
}

Result<DatabaseKey> Vault::database_key() const {
  DOORSTEP_TRY(require_unlocked());
  return DatabaseKey{content_.file_id, open_->key.duplicate()};
}

Result<ByteView> Vault::secrets() const {
  DOORSTEP_TRY(require_unlocked());
  return ByteView(open_->secrets.reveal()).first(open_->secrets_size);
}

// ---- Writing

Status Vault::write(const Content& changed, Previous previous) const {
  if (copy_ == VaultCopy::previous) return Error(Code::conflict, "this is the copy before the current vault: restore it first");
  Files& files = directory_->files();
  if (previous == Previous::keep) {
    auto before = files.read(directory_->file("vault"), vault_bytes_max);
    if (before.ok()) DOORSTEP_TRY(write_atomically(files, directory_->path(), "vault.prev", *before));
    if (!before.ok() && before.code() != Code::not_found) return before.error();
  }
  const Bytes file = VaultFormat::encode(changed);
  if (DOORSTEP_PLANTED(vault_not_atomic)) return files.write_synced(directory_->file("vault"), file);
  DOORSTEP_TRY(write_atomically(files, directory_->path(), "vault", file));
  if (previous == Previous::keep) return {};
  DOORSTEP_TRY(files.remove(directory_->file("vault.damaged")));
  return write_atomically(files, directory_->path(), "vault.prev", file);  // V2
}

Status Vault::commit_sealed(Content changed, Previous previous) {
  ++changed.generation;
  changed.seal = VaultFormat::seal(open_->key, changed);
  DOORSTEP_TRY(write(changed, previous));
  content_ = std::move(changed);
  return {};
}

Status Vault::set_secrets(ByteView secrets) {
  DOORSTEP_TRY(require_unlocked());
  if (secrets.size() > vault_secrets_bytes_max) return Error(Code::too_large, "a vault holds at most 4096 bytes of secrets");
  Content changed = content_;
  changed.sealed_secrets = VaultFormat::seal_secrets(open_->key, changed, secrets, *random_);
  DOORSTEP_TRY(commit_sealed(std::move(changed), Previous::keep));
  return accept_key(open_->key.duplicate());  // takes the new secrets over
}

Status Vault::set_plain(ByteView plain) {
  if (plain.size() > vault_plain_bytes_max) return Error(Code::too_large, "a vault holds at most 65536 bytes beside the secrets");
  Content changed = content_;
  changed.plain = to_bytes(plain);
  DOORSTEP_TRY(write(changed, Previous::keep));
  content_ = std::move(changed);
  return {};
}

Status Vault::change_credentials(const Credentials& old_credentials, const Credentials& new_credentials,
                                 const Argon2Parameters& parameters) {
  SymmetricKey key;
  DOORSTEP_ASSIGN(const std::size_t index, find_slot(old_credentials, key));
  if (!open_) DOORSTEP_TRY(accept_key(key));
  Content changed = content_;
  DOORSTEP_ASSIGN(changed.slots[index], VaultFormat::wrap(changed, changed.slots[index].id, key, new_credentials, parameters, *random_));
  return commit_sealed(std::move(changed), Previous::replace);
}

Status Vault::add_slot(const Credentials& credentials, const Argon2Parameters& parameters) {
  DOORSTEP_TRY(require_unlocked());
  if (content_.slots.size() == vault_slots_max) return Error(Code::too_large, "a vault has at most 8 key slots: remove one first");
  Content changed = content_;
  DOORSTEP_ASSIGN(const Slot slot,
                  VaultFormat::wrap(changed, VaultFormat::free_id(changed), open_->key, credentials, parameters, *random_));
  changed.slots.insert(changed.slots.begin() + slot.id, slot);  // ids below a free one are all taken
  return commit_sealed(std::move(changed), Previous::keep);
}

Status Vault::remove_slot(const Credentials& credentials) {
  SymmetricKey key;
  DOORSTEP_ASSIGN(const std::size_t index, find_slot(credentials, key));
  if (content_.slots.size() == 1)
    return Error(Code::invalid_argument, "this is the vault's last key slot: without it the store could never be opened");
  if (!open_) DOORSTEP_TRY(accept_key(key));
  Content changed = content_;
  changed.slots.erase(changed.slots.begin() + static_cast<std::ptrdiff_t>(index));
  return commit_sealed(std::move(changed), Previous::replace);
}

Status Vault::restore() {
  if (copy_ != VaultCopy::previous) return Error(Code::invalid_argument, "this is the current vault: there is nothing to restore");
  Files& files = directory_->files();
  auto current = files.read(directory_->file("vault"), vault_bytes_max);
  if (current.ok()) DOORSTEP_TRY(write_atomically(files, directory_->path(), "vault.damaged", *current));
  if (!current.ok() && current.code() == Code::too_large)
    DOORSTEP_TRY(files.rename(directory_->file("vault"), directory_->file("vault.damaged")));
  DOORSTEP_TRY(write_atomically(files, directory_->path(), "vault", VaultFormat::encode(content_)));
  copy_ = VaultCopy::current;
  return {};
}

}  // namespace doorstep
