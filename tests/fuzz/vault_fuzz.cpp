// The vault's file (sdk/store/FORMAT.md, "Vault") as a thief or a failing disk leaves it. The first byte says how far it was mended:
//   0  the input is the file                       1  the input changes an honest file
//   2  the input is the file without its checksum  3  it changes an honest file, and the checksum is mended
//   4  as 3, and so are the check value and the seal: as if somebody had the key
// Argon2id is kept out of the loop: the key is at hand. What must hold: no crash; nothing opens that the owner did not seal (0 to 3); what
// loads writes itself again byte for byte.
#include "sdk/store/vault.hpp"

#include "tests/fault/crash_vfs.hpp"
#include "tests/fuzz/target.hpp"

namespace {

using namespace doorstep;
using namespace doorstep::fuzz;
using doorstep::fault::SimulatedDisk;

constexpr char directory[] = "/store";
constexpr std::size_t header_bytes = 72, slot_bytes = 112, hash_bytes = 32;

struct Honest {
  CountingRandom random;
  SymmetricKey key;
  Bytes file;
  Honest() {
    SimulatedDisk disk;
    auto vault = Vault::create(StoreDirectory::acquire(directory, disk).value(), {view("a passphrase")}, view("seeds of keys"),
                               view("pins of relays"), random, argon2_floor)
                     .value();
    key = vault.database_key()->key.duplicate();
    file = disk.image().at("/store/vault");
  }
};
Honest& honest() {
  static Honest out;
  return out;
}

std::size_t sealed_part_bytes(ByteView file) {
  if (file.size() < header_bytes) return 0;
  std::size_t secrets = 0;
  for (std::size_t i = 4; i-- > 0;) secrets = secrets << 8 | file[12 + i];
  return header_bytes + slot_bytes * file[11] + secrets;
}

void mend_seal(Bytes& file) {
  const std::size_t sealed = sealed_part_bytes(file);
  if (sealed == 0 || sealed + hash_bytes > file.size()) return;
  const ByteView file_id = ByteView(file).subspan(16, 16);
  const auto& key = honest().key;
  const Hash check = keyed_hash(key, "doorstep/1/vault-check", {file_id});
  std::copy(check.data.begin(), check.data.end(), file.begin() + 40);
  const SymmetricKey seal_key = derive_key(key, "doorstep/1/vault-seal", {file_id});
  const Hash seal = keyed_hash(seal_key, "doorstep/1/vault-seal", {ByteView(file).first(sealed)});
  std::copy(seal.data.begin(), seal.data.end(), file.begin() + static_cast<std::ptrdiff_t>(sealed));
}

void mend_checksum(Bytes& file) {
  if (file.size() < hash_bytes) return;
  file.resize(file.size() - hash_bytes);
  append(file, hash("doorstep/1/vault-checksum", {ByteView(file)}).view());
}

/// The input as a file, mended as far as `how` says.
Bytes file_from(std::uint8_t how, ByteView input) {
  Bytes file = to_bytes(input);
  if (how % 2 != 0 || how == 4) {
    file = honest().file;
    Script script(input);
    while (!script.empty()) mutate(file, script);
  }
  if (how == 2) file.resize(file.size() + hash_bytes);
  if (how == 4) mend_seal(file);
  if (how >= 2) mend_checksum(file);
  return file;
}

void run(ByteView input, Verdict& verdict) {
  if (input.empty()) return;
  const auto how = static_cast<std::uint8_t>(input[0] % 5);
  const Bytes file = file_from(how, input.subspan(1));
  SimulatedDisk disk({{"/store/vault", file}});
  auto vault = Vault::load(StoreDirectory::acquire(directory, disk).value(), honest().random);
  verdict.note(vault.code());
  if (!vault) return require(!vault.error().message().empty() && disk.image().at("/store/vault") == file);
  require(vault->slot_count() >= 1 && vault->slot_count() <= vault_slots_max);
  require(vault->plain().size() <= vault_plain_bytes_max);
  const auto opened = vault->open_with_key(honest().key);
  verdict.note(opened);
  const auto sealed = sealed_part_bytes(honest().file) + hash_bytes;
  const bool untouched = file.size() >= sealed && equal(ByteView(file).first(sealed), ByteView(honest().file).first(sealed));
  if (how < 4) require(opened.ok() == untouched);
  if (opened.ok()) require(vault->secrets()->size() <= vault_secrets_bytes_max);
  require(vault->set_plain(to_bytes(vault->plain())).ok() && disk.image().at("/store/vault") == file);
}

std::vector<Seed> seeds() {
  const auto led = [](std::uint8_t mode, ByteView rest) {
    Bytes out{mode};
    append(out, rest);
    return out;
  };
  const ByteView file(honest().file);
  return {{"whole", led(0, file)},
          {"untouched", Bytes{1}},
          {"no_checksum", led(2, file.first(file.size() - hash_bytes))},
          {"slot_changed", Bytes{3, 0, 1, 72, 0, 1}},
          {"count_changed", Bytes{4, 0, 1, 11, 0, 2}},
          {"plain_changed", Bytes{3, 0, 1, 8, 1, 9}}};
}

const Registration registration({"vault", run, seeds});

}  // namespace
