// One sync session as a state machine (PROTOCOL.md, section 6). The same code on a phone, in a relay and in the simulator:
// it owns no socket, file, thread or clock. Inputs are calls; outputs are effects that the body carries out in order.
//
//   hello ⇄ hello          versions, one digest over all spaces           equal: level at once
//   spaces →               every space with a short digest                (initiator)
//   ← heads… compared      roster and log heads of the spaces that differ (responder)
//   heads →                ours for the same spaces
//   roster, log, segments  both ways at once, in windows, acknowledged by `stored` when durable (with a relay's receipt)
//   level                  nothing missing either way; from now on new segments are pushed as they appear
//
// Invariants:
// 1. Nothing of a space is sent before the peer's heads of that space have been seen (DESIGN invariant 5: the body hears
//    `PeerHeads` first, and can find that its own log went backwards).
// 2. Roster entries travel before segments of the same space, so that whoever reads in order can check what it reads.
// 3. At most window_bytes_max of segments (and one batch) are unacknowledged, and a peer that sends more than it may ends its session.
// 4. Acknowledged means durable at the peer: `sent` is forgotten at the end of the session, `acknowledged` is not asked again.
// 5. Where two logs of one name differ, both sides split them at the same position and go on (locator, split).
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <variant>
#include <vector>

#include "sync/segment.hpp"

namespace doorstep {

inline constexpr std::uint8_t protocol_version = 1;

/// Everything that names a log: who writes it, in which life of his store, and for a branch where it leaves its parent.
struct LogName {
  DeviceId device;
  Incarnation incarnation;
  std::optional<Hash> branch;                 ///< First segment of the branch.
  Position starts_after = 0;                  ///< A branch's first segment stands one above this.
  LogId id(const SpaceId& space) const;       ///< The branch's own id, or the incarnation's.
  LogId root_id(const SpaceId& space) const;  ///< The incarnation's: what segments sign.
  template <class Archive>
  void serialize(Archive& archive) {
    archive(device, incarnation, branch, starts_after);
  }
  bool operator==(const LogName&) const = default;
};

/// The first four bytes of a device's identity: lets a device find logs of its own, that it no longer knows, in a peer's heads.
using DeviceTag = FixedBytes<struct DeviceTagTag, 4>;
inline DeviceTag tag_of(const DeviceId& device) { return DeviceTag::from(device.view().first(4)); }

struct LogHead {
  LogName name;
  LogId id;               ///< name.id(space)
  Position position = 0;  ///< For a branch counted as in its root log.
  Hash hash;
};

/// What one side holds of a space.
struct SpaceSummary {
  SpaceId space;
  Position roster_size = 0;  ///< 0: nothing known but the id.
  Hash roster_head;
  std::vector<LogHead> logs;
  bool readable = true;    ///< The peer may get segments (false: a joining device gets the roster only).
  bool appendable = true;  ///< The peer may hand segments in.
};
/// Over heads and roster head; equal exactly when both hold the same.
ShortHash set_digest(const SpaceSummary& summary);
ShortHash set_digest(std::span<const SpaceSummary> summaries);

/// A relay's signed word that a log is durable there up to a position.
struct Receipt {
  StoreId store;
  Signature signature;  ///< label "doorstep/1/receipt" over store ‖ space ‖ log ‖ u64le position ‖ hash.
};
/// `hash` is the log's at `position`.
Signature sign_receipt(const IdentitySecretKey& key, const StoreId& store, const SpaceId& space, const LogId& log, Position position,
                       const Hash& hash);
/// The relay of that key has signed that this very log, as `hash` names it, is durable in that store up to that position.
bool receipt_holds(const Receipt& receipt, const DeviceId& receipt_key, const SpaceId& space, const LogId& log, Position position,
                   const Hash& hash);

using SharedBytes = std::shared_ptr<const Bytes>;

/// What the body must do, in the order given. Loads and appends are answered by the on_…() of the same name, in any order
/// between logs, in order within one.
namespace effect {
struct Send {
  Bytes message;
};
struct LoadSummaries {};
struct LoadRoster {
  SpaceId space;
  Position from;
};
/// Segments after `after`, together about `bytes_max` (at least one). If `expect` is set, the log's hash at `after` must begin with
/// it: otherwise answer diverged.
struct LoadSegments {
  SpaceId space;
  LogId log;
  Position after;
  std::optional<ShortHash> expect;
  std::size_t bytes_max;
};
struct AppendRoster {
  SpaceId space;
  Position first;
  std::vector<Bytes> entries;
};
struct AppendSegments {
  SpaceId space;
  LogName log;
  Position first;
  std::vector<Bytes> segments;
};
struct PeerHello {
  std::optional<StoreId> store;
  DeviceId receipt_key;
  std::int64_t now_ms;
};
struct PeerHead {
  LogId log;
  Position position;
  ShortHash hash;
  DeviceTag device;
};
struct PeerHeads {
  SpaceId space;
  Position roster_size;
  std::vector<PeerHead> logs;
};
/// The roster is level: a replica may now seal what is pending (then on_new_segments).
struct SpaceReady {
  SpaceId space;
};
struct PeerStored {
  SpaceId space;
  LogId log;
  Position position;
  std::optional<Receipt> receipt;
};
struct PeerRefused {
  SpaceId space;
  LogId log;
  Position position;
  Code code;
};
struct Proposal {
  SpaceId space;
  Bytes bytes;
};
/// Find the highest position at which our log agrees with the locator; answer with on_located().
struct Locate {
  SpaceId space;
  LogId log;
  std::vector<std::pair<Position, ShortHash>> locator;
};
/// The other half of Locate: hashes of our log at the given positions; answer with on_locator().
struct MakeLocator {
  SpaceId space;
  LogId log;
};
/// Keep what stands above `position` as a branch. Answer with on_summary().
struct Split {
  SpaceId space;
  LogId log;
  Position position;
};
struct Level {};  ///< Once each time that everything is level.
struct Close {
  Code code;
};  ///< Code::ok: the peer said goodbye.
}  // namespace effect

using Effect =
    std::variant<effect::Send, effect::LoadSummaries, effect::LoadRoster, effect::LoadSegments, effect::AppendRoster,
                 effect::AppendSegments, effect::PeerHello, effect::PeerHeads, effect::SpaceReady, effect::PeerStored, effect::PeerRefused,
                 effect::Proposal, effect::Locate, effect::MakeLocator, effect::Split, effect::Level, effect::Close>;

class Session {
 public:
  struct Options {
    bool initiator = false;
    std::optional<StoreId> store;  ///< Ours, if we are a relay.
    DeviceId receipt_key;          ///< A relay's Ed25519 key for receipts.
    std::int64_t now_ms = 0;       ///< Our wall clock, told to the peer.
    std::size_t window_bytes_max = 3u << 20;
    std::size_t batch_bytes = 512u << 10;  ///< About one message of segments.
  };
  explicit Session(Options options);

  /// The channel is established.
  void on_connected();
  void on_message(ByteView message);

  void on_summaries(std::vector<SpaceSummary> summaries);
  /// A space changed outside this session (another session, a commit, a split); also announces a new space.
  void on_summary(const SpaceSummary& summary);
  void on_roster_loaded(const SpaceId& space, Position from, std::vector<Bytes> entries);
  void on_segments_loaded(const SpaceId& space, const LogId& log, Position after, std::vector<SharedBytes> segments, bool diverged);
  void on_roster_stored(const SpaceId& space, const SpaceSummary& now, Status status);
  /// `position`, `hash`: durable up to here now. A refusal names why the next one was not taken.
  struct Stored {
    Position position = 0;
    Hash hash;
    std::optional<Signature> receipt;  ///< A relay's.
    Code refused = Code::ok;           ///< Code::conflict: it does not continue our log (diverged).
    std::size_t bytes = 0;
  };
  void on_segments_stored(const SpaceId& space, const LogName& log, const Stored& stored);
  void on_located(const SpaceId& space, const LogId& log, Position agrees_up_to);
  void on_locator(const SpaceId& space, const LogId& log, std::vector<std::pair<Position, ShortHash>> locator);
  /// New segments of a log, ours or relayed; their bytes spare a load if the peer is level.
  void on_new_segments(const SpaceId& space, const LogHead& head, Position first, const std::vector<SharedBytes>& segments);
  void on_new_roster(const SpaceSummary& now) { on_summary(now); }
  void propose(const SpaceId& space, ByteView proposal);
  /// Sends a log again from above `after`, for a receipt that got lost: what the peer has it acknowledges again.
  void resend(const SpaceId& space, const LogId& log, Position after);
  void ping();
  /// Answers to pings wait until as many releases: whoever asked for something that takes the body time (a proposal stored, the
  /// waiting ones loaded) knows with the pong that it is done. A device that must not leave before that pings and waits.
  void hold_pongs() { ++pong_holds_; }
  void release_pongs();
  std::uint64_t pings() const { return pings_; }  ///< Sent.
  std::uint64_t pongs() const { return pongs_; }  ///< Received.
  /// Says goodbye.
  void close(Code code);

  /// What happened since the last call.
  std::vector<Effect> take_effects();
  bool closed() const { return closed_; }
  bool level() const { return level_; }
  /// Bytes of segments that the peer has not acknowledged.
  std::size_t in_flight() const { return in_flight_; }
  /// What it costs us to remember the spaces and logs that the peer has named.
  std::size_t named_bytes() const { return named_bytes_; }

 private:
  struct Log {
    LogName name;
    Position mine = 0;
    Hash mine_hash;
    Position peer = 0;                   ///< The peer has it, durably.
    std::optional<ShortHash> peer_hash;  ///< At `peer`, as its heads said; checked by the first load.
    Position sent = 0;
    Position promised = 0;                     ///< The peer's heads say it has this much: we expect it.
    std::optional<std::uint64_t> number;       ///< In our numbering, once announced.
    std::optional<std::uint64_t> peer_number;  ///< In the peer's, once it has announced it.
    bool loading = false;
    bool splitting = false;
    Code refused = Code::ok;                                       ///< The peer will not take more of it in this session.
    std::vector<std::pair<Position, std::size_t>> unacknowledged;  // a deque would cost half a kilobyte for each log
    /// What to send next stands above this: a branch begins where it leaves its root log.
    Position next_after() const { return sent > name.starts_after ? sent : name.starts_after; }
  };
  struct Space {
    SpaceSummary mine;
    SpaceSummary told;        ///< What our digest told the peer, until it is compared: `mine` may go on meanwhile.
    std::uint64_t index = 0;  ///< In the initiator's list.
    bool differs = false;     ///< Heads were exchanged.
    bool heads_sent = false;
    bool peer_heads = false;
    bool ready_told = false;
    bool loading_roster = false;
    bool roster_fork = false;
    bool split_open = false;  ///< The body is splitting: heads wait for the new summary.
    Bytes heads_waiting;
    Position peer_roster = 0;         ///< Sent up to here, or had.
    Position peer_roster_stored = 0;  ///< The peer has it, durably.
    ShortHash peer_roster_head;
    Position roster_promised = 0;
    std::map<LogId, Log> logs;
  };

  void send(std::uint8_t type, const Bytes& payload);
  void fail(Code code);
  void on_hello(ByteView payload);
  void on_spaces(ByteView payload);
  void on_heads(ByteView payload);
  void on_compared();
  void on_roster(ByteView payload);
  void on_roster_acknowledged(ByteView payload);
  void on_log(ByteView payload);
  void on_segments(ByteView payload);
  void on_stored(ByteView payload);
  void on_refused(ByteView payload);
  void on_proposal(ByteView payload);
  void on_locator_message(ByteView payload);
  void on_split(ByteView payload);

  void begin();
  void send_heads(Space& space);
  void update(Space& space, const SpaceSummary& now);
  void apply_peer_heads(Space& space, const std::vector<effect::PeerHead>& logs);
  void split(Space& space, const LogId& log, Position position, bool tell);
  void assume_level(Space& space);
  std::pair<Space*, Log*> log_by_number(std::uint64_t number);
  bool roster_level(const Space& space) const;
  /// Something may be sent now, or be level: take_effects() looks.
  void pump() { pump_wanted_ = true; }
  void pump_now();
  void pump_space(Space& space);
  static bool waits_for_parent(const Space& space, const Log& log);
  bool window_full(std::size_t bytes) const;
  bool pump_log(Space& space, const LogId& id, Log& log);
  void send_segments(Space& space, const LogId& id, Log& log, Position first, std::span<const SharedBytes> segments);
  void check_level();
  Space* find(const SpaceId& space);
  Space* by_index(std::uint64_t index);
  /// The peer names a log; false: too many.
  bool name_log(const Space& space, const LogId& log);
  static constexpr std::size_t named_log_bytes();
  Log& log_of(Space& space, const LogName& name);

  Options options_;
  const bool newer_;  // only ever in the simulator (lab.hpp)
  std::vector<Effect> effects_;
  std::vector<std::unique_ptr<Space>> spaces_;  // by index: the initiator's list, then what appeared later
  std::map<SpaceId, Space*> by_id_;
  std::vector<std::pair<Space*, LogName>> peer_logs_;  // by the peer's numbers
  std::vector<std::pair<Space*, LogId>> our_logs_;     // by ours
  std::size_t in_flight_ = 0;
  std::size_t loading_ = 0;  ///< Loads that the body owes us: each will put a batch in flight.
  std::size_t received_unstored_ = 0;
  std::size_t appends_open_ = 0;
  std::size_t splits_ = 0;
  std::size_t named_bytes_ = 0;
  std::uint64_t pings_ = 0, pongs_ = 0, pongs_owed_ = 0;
  std::size_t pong_holds_ = 0;
  ShortHash digest_, peer_digest_;  ///< As the hellos said.
  std::optional<StoreId> peer_store_;
  bool peer_hello_ = false, summaries_ = false, hello_sent_ = false, compared_ = false, level_ = false, closed_ = false,
       pump_wanted_ = false;
};

}  // namespace doorstep
