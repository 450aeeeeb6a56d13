// Files to damage, and where in them something stands.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "doorstep/doorstep.hpp"
#include "sdk/core/core.hpp"
#include "sdk/store/vfs.hpp"

namespace doorstep {

inline Bytes read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(in), {});
}
inline void write_file(const std::string& path, ByteView bytes) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

/// The unwrapped key of an open store.
inline DatabaseKey key_of(const Replica& replica) {
  const TakeTurn<Turn> guard(replica.core()->mutex);
  auto key = replica.core()->vault().database_key();
  EXPECT_TRUE(key.ok());
  return key->duplicate();
}

/// A page of "main" or a frame of "wal", each from 1.
using Place = std::pair<std::string, std::size_t>;
using Places = std::set<Place>;

/// What SQLite reads for something.
struct ReadPlaces final : VfsTestHooks {
  ReadPlaces() { leave_log = true; }
  void on_call(Operation operation, std::string_view file, std::int64_t offset, std::int64_t) override {
    if (operation != Operation::read) return;
    if (file == "main.db") places.insert({"main", static_cast<std::size_t>(offset) / page_bytes + 1});
    constexpr std::size_t frame = frame_header_bytes + page_bytes;
    if (file == "main.db-wal" && offset >= 32) places.insert({"wal", (static_cast<std::size_t>(offset) - wal_header_bytes) / frame + 1});
  }
  Places places;
};

/// The pages of main.db that hold no rows, but lead to them.
inline Places leading_pages(const std::string& main_db, const DatabaseKey& key) {
  SystemRandom random;
  RecordSealer sealer(key, random);
  const Bytes file = read_file(main_db);
  Places out{{"main", 1}, {"main", 2}};  // the schema, which a rebuild does not need, and a pointer map
  for (std::size_t number = 3; number <= file.size() / page_bytes; ++number) {
    Bytes page(page_plain_bytes);
    const bool good = sealer.open(RecordKind::page, 0, static_cast<std::uint32_t>(number), file.data() + (number - 1) * page_bytes, page);
    if (good && page[0] == 5) out.insert({"main", number});  // the inside of a table
  }
  return out;
}

/// Where the row stands that each query asks for, in a store that nobody has open. (Opens a copy: opening writes.)
inline std::vector<Places> places_of(ReplicaOptions options, std::string_view passphrase, const DatabaseKey& key,
                                     const std::vector<std::string>& queries) {
  const std::string copy = options.directory + ".copy";
  std::filesystem::remove_all(copy);
  std::filesystem::copy(options.directory, copy, std::filesystem::copy_options::recursive);
  options.directory = copy;
  ReadPlaces reads;
  Platform platform;
  platform.hooks = &reads;
  options.platform = &platform;
  std::vector<Places> out;
  {
    const auto replica = Replica::open(options, passphrase);
    EXPECT_TRUE(replica.ok()) << (replica.ok() ? "" : replica.error().message());
    const Places leading = leading_pages(copy + "/main.db", key);
    const TakeTurn<Turn> guard(replica->core()->mutex);
    Database& database = replica->core()->database();
    for (const auto& sql : queries) {
      auto statement = database.prepare(sql);
      EXPECT_TRUE(statement.ok());
      database.release_memory();
      reads.places.clear();
      const auto row = statement->step();
      EXPECT_TRUE(row.ok() && *row) << sql;
      (void)statement->column_blob(0);
      auto& places = out.emplace_back();
      std::set_difference(reads.places.begin(), reads.places.end(), leading.begin(), leading.end(), std::inserter(places, places.end()));
    }
  }
  std::filesystem::remove_all(copy);
  return out;
}

}  // namespace doorstep
