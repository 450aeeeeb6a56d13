#include "sdk/core/store_schema.hpp"

namespace doorstep {

namespace {

constexpr std::string_view version_1 = R"sql(
-- One value each: "clock" (the last check), "authority".
CREATE TABLE meta(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE space(
  n INTEGER PRIMARY KEY,
  id BLOB NOT NULL UNIQUE,
  name TEXT NOT NULL,                -- the person's own name for it
  invitation TEXT NOT NULL,          -- the link we joined by, until we are admitted
  label TEXT NOT NULL,               -- what we called ourselves in it
  own_log INTEGER NOT NULL,          -- our current incarnation's log; 0: none yet
  fresh_log INTEGER NOT NULL);       -- 1: this store went back in time, the next segment starts a new incarnation
-- The state digest of the records up to a row of each kind (`covered`: kind and serial, each a varint, by kind); those behind are
-- added when somebody asks.
CREATE TABLE state_digest(space INTEGER PRIMARY KEY, lanes BLOB NOT NULL, covered BLOB NOT NULL);
CREATE TABLE roster(space INTEGER, position INTEGER, entry BLOB NOT NULL, PRIMARY KEY(space, position)) WITHOUT ROWID;
CREATE TABLE log(
  n INTEGER PRIMARY KEY, space INTEGER NOT NULL, id BLOB NOT NULL, device BLOB NOT NULL, incarnation BLOB NOT NULL,
  branch BLOB, starts_after INTEGER NOT NULL,
  parent INTEGER NOT NULL,           -- the log that a branch leaves; 0: none
  position INTEGER NOT NULL, hash BLOB NOT NULL,
  checked INTEGER NOT NULL,          -- 1: a clock check against a named peer stands in it
  UNIQUE(space, id));
-- The relay's word for our segments and those that we carry.
CREATE TABLE receipt(log INTEGER PRIMARY KEY, store BLOB NOT NULL, position INTEGER NOT NULL, hash BLOB NOT NULL,
  signature BLOB NOT NULL, receipt_key BLOB NOT NULL);
CREATE TABLE segment(
  n INTEGER PRIMARY KEY,             -- log << 32 | position
  hash BLOB NOT NULL, transactions INTEGER NOT NULL,
  reason INTEGER NOT NULL,           -- 0 merged, else why it is in quarantine
  checked INTEGER NOT NULL,          -- log.checked before it
  bytes BLOB NOT NULL);
CREATE INDEX segment_quarantined ON segment(reason) WHERE reason <> 0;
-- Which segment holds which counters of which device (space << 32 | device number); ranges do not overlap.
CREATE TABLE span(device INTEGER, first INTEGER, last INTEGER NOT NULL, segment INTEGER NOT NULL, PRIMARY KEY(device, first)) WITHOUT ROWID;
-- Readable transactions that share a counter with one in a segment of smaller hash (MERGE.md, section 1).
CREATE TABLE void(device INTEGER, first INTEGER, segment INTEGER, last INTEGER NOT NULL, PRIMARY KEY(device, first, segment)) WITHOUT ROWID;
CREATE TABLE quarantine(segment INTEGER, item INTEGER, reason INTEGER NOT NULL, PRIMARY KEY(segment, item)) WITHOUT ROWID;
-- Transactions of ours that are in no segment yet.
CREATE TABLE pending(n INTEGER PRIMARY KEY, space INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
  transactions INTEGER NOT NULL, oldest_ms INTEGER NOT NULL, refers BLOB NOT NULL, bytes BLOB NOT NULL);
CREATE TABLE record(n INTEGER PRIMARY KEY, id BLOB NOT NULL, body BLOB NOT NULL);
CREATE INDEX record_id ON record(id);
CREATE TABLE entry(field INTEGER, key BLOB, record INTEGER, PRIMARY KEY(field, key, record)) WITHOUT ROWID;
CREATE TABLE conflict(record INTEGER PRIMARY KEY);
CREATE TABLE draft(id BLOB PRIMARY KEY, kind TEXT NOT NULL, json TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE dictionary(n INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE proposal(space INTEGER, hash BLOB, bytes BLOB NOT NULL, PRIMARY KEY(space, hash)) WITHOUT ROWID;
-- What a segment proves to have seen of another log (`log`: the incarnation's id): whoever referred to a position is judged again
-- when a segment arrives there that tells.
CREATE TABLE reference(log BLOB, position INTEGER, segment INTEGER, hash BLOB, PRIMARY KEY(log, position, segment, hash)) WITHOUT ROWID;
)sql";

constexpr std::string_view version_2 = R"sql(
-- 1: made anew by a rebuild and not level with a relay since: nothing is sealed, and no roster entry made.
ALTER TABLE space ADD COLUMN rebuilt INTEGER NOT NULL DEFAULT 0;
-- The hash of the segment before, in segments that were sealed here: each can be opened alone. In others NULL.
ALTER TABLE segment ADD COLUMN previous BLOB;
-- What a rebuild saved from behind a gap, until sync has filled it: segments (`name`: how their log is named), and under an empty
-- `log` entries of the roster.
CREATE TABLE salvaged(space INTEGER, log BLOB, position INTEGER, name BLOB NOT NULL, previous BLOB, bytes BLOB NOT NULL,
  PRIMARY KEY(space, log, position)) WITHOUT ROWID;
)sql";

// A rebuild knows rows by their shape (rebuild.cpp): a new table or column that it has to save needs a line there.
constexpr Migration steps[] = {{version_1, nullptr}, {version_2, nullptr}};

}  // namespace

std::span<const Migration> store_migrations() { return steps; }

}  // namespace doorstep
