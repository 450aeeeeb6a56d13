// A device for tests: a replica without keys for records (a Ledger over memory) and a client that drives sync's session and channel
// over one socket, by hand: nothing happens but inside until().
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>

#include "server/ledger.hpp"
#include "sync/channel.hpp"
#include "tests/server/memory_store.hpp"
#include "tests/server/village.hpp"

namespace doorstep::relay {

struct Replica {
  explicit Replica(const Device& owner_) : owner(owner_) { EXPECT_TRUE(ledger.load()); }
  /// The village's roster as far as it has come.
  void learn(const Village& village);
  /// What `writer` has written and is not here yet.
  void learn(const Writer& writer);
  Position head(const SpaceId& space, const LogId& log) const;
  /// Over everything of one space, as a relay would announce it.
  SpaceSummary summary(const SpaceId& space) const;

  const Device& owner;
  MemoryStore store;
  Ledger ledger{store, {}};
  std::set<SpaceId> invited;  ///< Known by their ids only.
};

class TestClient {
 public:
  struct Seen {
    bool level = false;  ///< At the moment.
    std::size_t levels = 0;
    std::optional<Code> closed;  ///< By the session or the channel.
    bool cut = false;            ///< The socket ended.
    std::optional<StoreId> store;
    DeviceId receipt_key;
    std::map<LogId, Position> receipts;  ///< Verified.
    std::size_t receipts_wrong = 0;
    std::map<LogId, Code> refused;
    std::vector<Bytes> proposals;
    std::size_t segments_received = 0;
    std::size_t segments_sent = 0;
    std::set<SpaceId> ready;
  };

  explicit TestClient(Replica& replica) : replica_(replica) {}
  ~TestClient();
  TestClient(const TestClient&) = delete;
  TestClient& operator=(const TestClient&) = delete;

  /// Opens the socket and says the first words. Without an invitation as a member (XK).
  void connect(std::uint16_t port, const TransportPublicKey& relay, const Invitation* invitation = nullptr);
  /// Drives until `condition` holds (true), or the deadline passes or the connection ends (false).
  bool until(const std::function<bool()>& condition, int deadline_ms = 20'000);
  bool until_level(int deadline_ms = 20'000) {
    return until([this] { return seen.level; }, deadline_ms);
  }
  bool until_closed(int deadline_ms = 20'000);
  /// Everything of this log is receipted.
  bool until_receipted(const Writer& writer, int deadline_ms = 20'000);
  /// The replica has learnt something more of this log: tells the peer.
  void announce(const Writer& writer, Position first);
  void announce_roster(const Village& village);
  void propose(const SpaceId& space, ByteView proposal);
  /// Says goodbye and closes.
  void bye();
  /// Just closes the socket.
  void cut();
  /// Bytes into the socket, past the channel.
  void raw(ByteView bytes);
  int socket() const { return socket_; }
  Session& session() { return *session_; }

  Seen seen;
  /// Called when a receipt has arrived.
  std::function<void(const LogId&, Position)> on_receipt;
  int receive_buffer_bytes = 0;  ///< Of the next connection's socket; 0: as the system likes it.

 private:
  void pump();
  void run_effects();
  void carry_out(Effect effect);
  void append(const effect::AppendSegments& append);
  void stored(const effect::PeerStored& stored);
  bool exchange(int wait_ms);
  bool write_out();

  Replica& replica_;
  int socket_ = -1;
  std::optional<Channel> channel_;
  std::optional<Session> session_;
  Bytes out_;
  bool started_ = false;
};

/// A socket to 127.0.0.1, or -1.
int connect_raw(std::uint16_t port, int receive_buffer_bytes = 0);
/// True if the other side ends the connection within the deadline; what it sends is thrown away.
bool ends(int socket, int deadline_ms);

}  // namespace doorstep::relay
