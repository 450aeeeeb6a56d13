#include "sdk/store/vault.hpp"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

namespace doorstep {
namespace {

namespace fs = std::filesystem;

constexpr Argon2Parameters cheap = argon2_floor;
constexpr std::size_t header_bytes = 72, slot_bytes = 112;

class StoreVault : public testing::Test {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / ("doorstep-vault-" + random_.make<ShortHash>().hex());
    directory_ = std::move(StoreDirectory::acquire(path_.string())).value();
  }
  void TearDown() override {
    directory_.reset();
    fs::remove_all(path_);
  }
  Vault create(const Credentials& credentials) {
    auto vault = Vault::create(directory_, credentials, view("seed"), view("transport"), random_, cheap);
    EXPECT_TRUE(vault.ok()) << vault.error().message();
    return std::move(vault).value();
  }
  Result<Vault> load(VaultCopy copy = VaultCopy::current) { return Vault::load(directory_, random_, copy); }
  Code unlock_code(const Credentials& credentials) {
    auto vault = load();
    return vault.ok() ? vault->unlock(credentials).code() : vault.code();
  }
  Bytes read_file(const char* name = "vault") { return system_files().read(directory_->file(name), 1 << 20).value(); }
  void write_file(const Bytes& bytes) { EXPECT_TRUE(write_atomically(system_files(), path_.string(), "vault", bytes).ok()); }
  /// As somebody would who knows the format: the checksum is right again.
  void write_resealed(Bytes bytes) {
    bytes.erase(bytes.end() - 32, bytes.end());
    append(bytes, hash("doorstep/1/vault-checksum", {ByteView(bytes)}).view());
    write_file(bytes);
  }

  SystemRandom random_;
  fs::path path_;
  std::shared_ptr<StoreDirectory> directory_;
};

const Credentials right{view("correct horse"), {}};
const Credentials wrong{view("wrong horse"), {}};
const Credentials with_keystore{view("1234"), view("keystore secret")};

TEST_F(StoreVault, OpensWithThePassphraseOnly) {
  const DatabaseKey key = std::move(create(right).database_key()).value();
  auto vault = std::move(load()).value();
  EXPECT_FALSE(vault.unlocked());
  EXPECT_EQ(text_view(vault.plain()), "transport") << "readable while locked";
  EXPECT_EQ(vault.database_key().code(), Code::locked);
  EXPECT_EQ(vault.secrets().code(), Code::locked);
  EXPECT_EQ(vault.unlock(wrong).code(), Code::wrong_key);
  EXPECT_EQ(vault.unlock({view(""), {}}).code(), Code::wrong_key);
  EXPECT_FALSE(vault.unlocked());
  ASSERT_TRUE(vault.unlock(right).ok());
  EXPECT_EQ(text_view(*vault.secrets()), "seed");
  EXPECT_TRUE(equal_secret(vault.database_key()->key.reveal(), key.key.reveal()));
  EXPECT_EQ(vault.database_key()->file_id, key.file_id);
  vault.lock();
  EXPECT_EQ(vault.secrets().code(), Code::locked);
}

TEST_F(StoreVault, OpensWithAnUnwrappedKey) {
  const DatabaseKey key = std::move(create(right).database_key()).value();
  auto vault = std::move(load()).value();
  EXPECT_EQ(vault.open_with_key(make_symmetric_key(random_)).code(), Code::wrong_key);
  ASSERT_TRUE(vault.open_with_key(key.key).ok());
  EXPECT_EQ(text_view(*vault.secrets()), "seed");
}

TEST_F(StoreVault, AKeystoreSlotNeedsBoth) {
  (void)create(with_keystore);
  auto vault = std::move(load()).value();
  EXPECT_TRUE(vault.wants_keystore());
  EXPECT_EQ(vault.unlock({view("1234"), {}}).code(), Code::wrong_key);
  EXPECT_EQ(vault.unlock({view("1234"), view("another phone")}).code(), Code::wrong_key);
  EXPECT_EQ(vault.unlock({view("1235"), view("keystore secret")}).code(), Code::wrong_key);
  EXPECT_TRUE(vault.unlock(with_keystore).ok());
}

TEST_F(StoreVault, IsNeverReplaced) {
  (void)create(right);
  const Bytes before = read_file();
  EXPECT_EQ(Vault::create(directory_, right, {}, {}, random_, cheap).code(), Code::already_exists);
  EXPECT_EQ(read_file(), before);
  EXPECT_EQ(Vault::load(std::move(StoreDirectory::acquire((path_ / "empty").string())).value(), random_).code(), Code::not_found);
}

TEST_F(StoreVault, ChangingThePassphraseWrapsOneKeyAgain) {
  const DatabaseKey key = [&] {
    Vault vault = create(right);
    EXPECT_TRUE(vault.set_plain(view("pins")).ok());  // leaves a vault.prev that the old passphrase opens
    EXPECT_EQ(vault.change_credentials(wrong, with_keystore, cheap).code(), Code::wrong_key);
    const Bytes before = read_file();
    EXPECT_TRUE(vault.change_credentials(right, with_keystore, cheap).ok());
    const Bytes after = read_file();
    const std::size_t secrets_at = header_bytes + slot_bytes;
    EXPECT_TRUE(equal(ByteView(before).subspan(secrets_at, 44), ByteView(after).subspan(secrets_at, 44))) << "secrets are not sealed again";
    return std::move(vault.database_key()).value();
  }();
  for (const VaultCopy copy : {VaultCopy::current, VaultCopy::previous}) {
    auto vault = std::move(load(copy)).value();
    EXPECT_EQ(vault.unlock(right).code(), Code::wrong_key) << "the old passphrase opens no copy";
    ASSERT_TRUE(vault.unlock(with_keystore).ok());
    EXPECT_TRUE(equal_secret(vault.database_key()->key.reveal(), key.key.reveal()));
    EXPECT_EQ(text_view(vault.plain()), "pins");
  }
}

TEST_F(StoreVault, SlotsComeAndGo) {
  Vault vault = create(right);
  ASSERT_TRUE(vault.add_slot(with_keystore, cheap).ok());
  ASSERT_TRUE(vault.add_slot({view("recovery words"), {}}, cheap).ok());
  EXPECT_EQ(vault.slot_count(), 3u);
  EXPECT_EQ(unlock_code({view("recovery words"), view("any keystore")}), Code::ok) << "a slot without a key store opens without it";
  ASSERT_TRUE(vault.remove_slot(with_keystore).ok());
  EXPECT_EQ(unlock_code(with_keystore), Code::wrong_key);
  EXPECT_EQ(unlock_code(right), Code::ok);
  EXPECT_EQ(unlock_code({view("recovery words"), {}}), Code::ok) << "slots behind the removed one still open";
  ASSERT_TRUE(vault.add_slot({view("third"), {}}, cheap).ok());
  EXPECT_EQ(unlock_code({view("third"), {}}), Code::ok);
  ASSERT_TRUE(vault.remove_slot(right).ok());
  ASSERT_TRUE(vault.remove_slot({view("third"), {}}).ok());
  EXPECT_EQ(vault.remove_slot({view("recovery words"), {}}).code(), Code::invalid_argument) << "the last one stays";
  while (vault.slot_count() < vault_slots_max) ASSERT_TRUE(vault.add_slot({view("more"), {}}, cheap).ok());
  EXPECT_EQ(vault.add_slot({view("too many"), {}}, cheap).code(), Code::too_large);
}

TEST_F(StoreVault, SecretsAndPlainAreKept) {
  Vault vault = create(right);
  const auto generation = vault.generation();
  ASSERT_TRUE(vault.set_secrets(Bytes(vault_secrets_bytes_max, 7)).ok());
  EXPECT_EQ(vault.generation(), generation + 1);
  EXPECT_EQ(vault.set_secrets(Bytes(vault_secrets_bytes_max + 1)).code(), Code::too_large);
  EXPECT_EQ(vault.set_plain(Bytes(vault_plain_bytes_max + 1)).code(), Code::too_large);
  vault.lock();
  EXPECT_EQ(vault.set_secrets(view("x")).code(), Code::locked);
  ASSERT_TRUE(vault.set_plain(Bytes(vault_plain_bytes_max, 8)).ok()) << "works while locked";
  auto again = std::move(load()).value();
  ASSERT_TRUE(again.unlock(right).ok());
  EXPECT_TRUE(equal(*again.secrets(), Bytes(vault_secrets_bytes_max, 7)));
  EXPECT_TRUE(equal(again.plain(), Bytes(vault_plain_bytes_max, 8)));
  ASSERT_TRUE(again.set_secrets({}).ok());
  EXPECT_TRUE(again.secrets()->empty());
}

TEST_F(StoreVault, EverySingleFlippedBitIsNoticed) {
  (void)create(right);
  const Bytes whole = read_file();
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    Bytes damaged = whole;
    damaged[bit / 8] ^= static_cast<std::uint8_t>(1u << bit % 8);
    std::ofstream(path_ / "vault", std::ios::binary)
        .write(reinterpret_cast<const char*>(damaged.data()), static_cast<std::streamsize>(damaged.size()));
    const auto vault = load();
    ASSERT_EQ(vault.code(), Code::corrupt) << "bit " << bit;
  }
}

TEST_F(StoreVault, EveryTruncationIsNoticed) {
  (void)create(right);
  const Bytes whole = read_file();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    fs::resize_file(path_ / "vault", 0);
    std::ofstream(path_ / "vault", std::ios::binary).write(reinterpret_cast<const char*>(whole.data()), static_cast<std::streamsize>(size));
    ASSERT_EQ(load().code(), Code::corrupt) << size;
  }
  write_file(Bytes(200000, 1));
  EXPECT_EQ(load().code(), Code::corrupt) << "too large";
}

TEST_F(StoreVault, FallsBackOnlyWhenTold) {
  Vault vault = create(right);
  ASSERT_TRUE(vault.set_secrets(view("newer")).ok());
  Bytes damaged = read_file();
  damaged[100] ^= 1;
  write_file(damaged);
  const auto loaded = load();
  ASSERT_EQ(loaded.code(), Code::corrupt);
  EXPECT_NE(loaded.error().message().find("vault.prev"), std::string::npos) << loaded.error().message();
  auto previous = std::move(load(VaultCopy::previous)).value();
  ASSERT_TRUE(previous.unlock(right).ok());
  EXPECT_EQ(text_view(*previous.secrets()), "seed");
  EXPECT_EQ(previous.set_plain(view("x")).code(), Code::conflict);
  ASSERT_TRUE(previous.restore().ok());
  EXPECT_EQ(read_file("vault.damaged"), damaged);
  EXPECT_EQ(unlock_code(right), Code::ok);
  ASSERT_TRUE(previous.change_credentials(right, with_keystore, cheap).ok());
  EXPECT_FALSE(fs::exists(path_ / "vault.damaged"));
}

// ---- Somebody who knows the format and repairs the checksum

TEST_F(StoreVault, WeakenedParametersAreRefused) {
  (void)create(right);
  const Bytes whole = read_file();
  const auto with_parameters = [&](std::uint32_t memory_kib, std::uint32_t passes) {
    Bytes out = whole;
    for (std::size_t i = 0; i < 4; ++i) {
      out[header_bytes + 4 + i] = static_cast<std::uint8_t>(memory_kib >> (8 * i));
      out[header_bytes + 8 + i] = static_cast<std::uint8_t>(passes >> (8 * i));
    }
    write_resealed(out);
    return unlock_code(right);
  };
  EXPECT_EQ(with_parameters(cheap.memory_kib, cheap.passes), Code::ok);
  EXPECT_EQ(with_parameters(cheap.memory_kib - 1, 2), Code::unsupported);
  EXPECT_EQ(with_parameters(cheap.memory_kib, 1), Code::unsupported);
  EXPECT_EQ(with_parameters(8, 1), Code::unsupported);
  EXPECT_EQ(with_parameters(0xffffffff, 2), Code::unsupported) << "would take all memory";
  EXPECT_EQ(with_parameters(cheap.memory_kib, 0xffffffff), Code::unsupported) << "would never end";
  EXPECT_EQ(with_parameters(cheap.memory_kib + 8, 2), Code::wrong_key) << "other parameters make another key";
  EXPECT_EQ(Vault::create(std::move(StoreDirectory::acquire((path_ / "other").string())).value(), right, {}, {}, random_, {8192, 3}).code(),
            Code::invalid_argument);
}

TEST_F(StoreVault, RearrangedSlotsAreRefused) {
  Vault vault = create(right);
  ASSERT_TRUE(vault.add_slot({view("second"), {}}, cheap).ok());
  const Bytes whole = read_file();
  const auto slot = [](Bytes& file, std::size_t i) { return file.begin() + static_cast<std::ptrdiff_t>(header_bytes + i * slot_bytes); };
  Bytes swapped = whole;
  std::swap_ranges(slot(swapped, 0), slot(swapped, 1), slot(swapped, 1));
  write_resealed(swapped);
  EXPECT_EQ(load().code(), Code::corrupt) << "out of order";
  std::swap(*(slot(swapped, 0) + 2), *(slot(swapped, 1) + 2));
  write_resealed(swapped);
  EXPECT_EQ(unlock_code(right), Code::wrong_key) << "under the other's id";
  Bytes dropped = whole;
  dropped.erase(slot(dropped, 1), slot(dropped, 2));
  dropped[11] = 1;
  write_resealed(dropped);
  EXPECT_EQ(unlock_code(right), Code::corrupt) << "one left out: the seal notices";
}

TEST_F(StoreVault, SlotsOfAnotherVaultAreRefused) {
  (void)create(right);
  const Bytes mine = read_file();
  auto other = std::move(StoreDirectory::acquire((path_ / "other").string())).value();
  ASSERT_TRUE(Vault::create(other, right, view("seed"), view("transport"), random_, cheap).ok());
  const Bytes theirs = system_files().read(other->file("vault"), 1 << 20).value();
  Bytes mixed = mine;
  std::copy_n(theirs.begin() + header_bytes, slot_bytes, mixed.begin() + header_bytes);
  write_resealed(mixed);
  EXPECT_EQ(unlock_code(right), Code::wrong_key);
  mixed = mine;
  std::copy_n(theirs.begin() + header_bytes + slot_bytes, 44, mixed.begin() + header_bytes + slot_bytes);
  write_resealed(mixed);
  EXPECT_EQ(unlock_code(right), Code::corrupt) << "another's secrets";
}

TEST_F(StoreVault, ANewerFormatIsRefusedByName) {
  (void)create(right);
  Bytes file = read_file();
  file[8] = 2;
  write_resealed(file);
  EXPECT_EQ(load().code(), Code::unsupported);
  file[8] = 1;
  file[10] = 9;
  write_resealed(file);
  EXPECT_EQ(load().code(), Code::unsupported) << "another cipher suite";
}

TEST_F(StoreVault, NothingSecretStandsInTheFile) {
  Vault vault = create(with_keystore);
  const std::string_view file_text = "correct horse";
  ASSERT_TRUE(vault.set_secrets(view("identity seed, very secret")).ok());
  const Bytes file = read_file();
  for (const std::string_view text : {std::string_view("very secret"), std::string_view("keystore secret"), file_text})
    EXPECT_EQ(text_view(file).find(text), std::string_view::npos);
  const auto key = std::move(vault.database_key()).value();
  EXPECT_EQ(text_view(file).find(text_view(key.key.reveal())), std::string_view::npos);
}

}  // namespace
}  // namespace doorstep
