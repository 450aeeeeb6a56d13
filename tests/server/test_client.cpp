#include "tests/server/test_client.hpp"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>

namespace doorstep::relay {

namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int connect_raw(std::uint16_t port, int receive_buffer_bytes) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return -1;
  // Before connecting, as the window is agreed on then.
  if (receive_buffer_bytes > 0) ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    ::close(socket);
    return -1;
  }
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return socket;
}

bool ends(int socket, int deadline_ms) {
  const auto until = now_ms() + deadline_ms;
  std::array<char, 4096> buffer;
  while (now_ms() < until) {
    pollfd wait{socket, POLLIN, 0};
    if (::poll(&wait, 1, 50) <= 0) continue;
    if (::recv(socket, buffer.data(), buffer.size(), 0) <= 0) return true;
  }
  return false;
}

// ---- Replica -----------------------------------------------------------------------------------------------------------

void Replica::learn(const Village& village) {
  ASSERT_TRUE(ledger.begin());
  const auto result = ledger.append_roster(village.id(), 0, village.entries);
  ASSERT_TRUE(result && result->status) << (result ? result->status.error().message() : result.error().message());
  ASSERT_TRUE(ledger.commit());
}

void Replica::learn(const Writer& writer) {
  const auto have = head(writer.village.id(), writer.id());
  std::vector<SharedBytes> segments;
  for (auto i = have; i < writer.segments.size(); ++i) segments.push_back(std::make_shared<const Bytes>(writer.segments[i]));
  if (segments.empty()) return;
  ASSERT_TRUE(ledger.begin());
  const auto result = ledger.append_segments(0, owner.transport.public_key, writer.village.id(), writer.name, have + 1, segments);
  ASSERT_TRUE(result && result->stored.refused == Code::ok) << (result ? result->why : result.error().message());
  ASSERT_TRUE(ledger.commit());
}

Position Replica::head(const SpaceId& space, const LogId& log) const {
  const auto at = ledger.head(space, log);
  return at ? at->position : 0;
}

SpaceSummary Replica::summary(const SpaceId& id) const {
  SpaceSummary out;
  out.space = id;
  const auto roster = ledger.roster(id);
  if (!roster) return out;
  out.roster_size = roster->size();
  out.roster_head = roster->head();
  out.logs = ledger.heads(id);
  return out;
}

// ---- Connecting --------------------------------------------------------------------------------------------------------

TestClient::~TestClient() { cut(); }

void TestClient::connect(std::uint16_t port, const TransportPublicKey& relay, const Invitation* invitation) {
  cut();
  seen = {};
  out_.clear();
  started_ = false;
  socket_ = connect_raw(port, receive_buffer_bytes);
  const auto& own = replica_.owner.transport;
  if (invitation)
    channel_.emplace(Channel::joining(dice(), own, relay, invitation->id(), invitation->connect_psk()));
  else
    channel_.emplace(Channel::device(dice(), own, relay));
  Session::Options options;
  options.initiator = true;
  session_.emplace(options);
}

void TestClient::cut() {
  if (socket_ >= 0) ::close(socket_);
  socket_ = -1;
}

void TestClient::bye() {
  session_->close(Code::ok);
  run_effects();
  channel_->close();
  doorstep::append(out_, channel_->take_output());
  const auto until = now_ms() + 5000;
  while (!out_.empty() && now_ms() < until && write_out()) {}
  cut();
}

void TestClient::raw(ByteView bytes) { (void)::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

// ---- Driving -----------------------------------------------------------------------------------------------------------

bool TestClient::until(const std::function<bool()>& condition, int deadline_ms) {
  const auto until = now_ms() + deadline_ms;
  pump();
  while (!condition()) {
    if (socket_ < 0 || seen.cut || now_ms() > until) return false;
    if (!exchange(20)) seen.cut = true;
    pump();
  }
  return true;
}

bool TestClient::until_closed(int deadline_ms) {
  (void)until([this] { return seen.cut; }, deadline_ms);
  return seen.cut;
}

bool TestClient::until_receipted(const Writer& writer, int deadline_ms) {
  const auto id = writer.id();
  return until([&] { return seen.receipts[id] == writer.hashes.size(); }, deadline_ms);
}

// Moves what the channel has between socket, channel and session.
void TestClient::pump() {
  if (!channel_) return;
  if (channel_->established() && session_ && !seen.closed) {
    if (!std::exchange(started_, true)) session_->on_connected();
    while (auto message = channel_->next_message()) {
      session_->on_message(*message);
      run_effects();
    }
    run_effects();
  }
  if (channel_->peer_closed() && !seen.closed) seen.closed = channel_->peer_close_code();
  doorstep::append(out_, channel_->take_output());
}

bool TestClient::write_out() {
  const auto sent = ::send(socket_, out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent < 0 && errno != EAGAIN) return false;
  if (sent > 0) out_.erase(out_.begin(), out_.begin() + sent);
  return true;
}

bool TestClient::exchange(int wait_ms) {
  pollfd wait{socket_, static_cast<short>(out_.empty() ? POLLIN : POLLIN | POLLOUT), 0};
  if (::poll(&wait, 1, wait_ms) <= 0) return true;
  if ((wait.revents & POLLOUT) != 0 && !write_out()) return false;
  if ((wait.revents & (POLLIN | POLLHUP | POLLERR)) == 0) return true;
  std::array<std::uint8_t, 65536> buffer;
  const auto size = ::recv(socket_, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (size < 0 && errno == EAGAIN) return true;
  if (size <= 0) {
    (void)channel_->finish();
    if (channel_->failed() && !seen.closed) seen.closed = channel_->failed();
    return false;
  }
  if (!channel_->feed(ByteView(buffer.data(), static_cast<std::size_t>(size))) && !seen.closed) seen.closed = channel_->failed();
  return true;
}

// ---- Effects -----------------------------------------------------------------------------------------------------------

void TestClient::run_effects() {
  for (auto effects = session_->take_effects(); !effects.empty(); effects = session_->take_effects())
    for (auto& effect : effects) carry_out(std::move(effect));
  seen.level = session_->level();
}

void TestClient::carry_out(Effect effect) {
  auto& ledger = replica_.ledger;
  if (auto* send = std::get_if<effect::Send>(&effect)) {
    doorstep::append(out_, channel_->take_output());
    (void)channel_->send(send->message);
  } else if (std::holds_alternative<effect::LoadSummaries>(effect)) {
    std::vector<SpaceSummary> all;
    for (const auto& space : ledger.spaces()) all.push_back(replica_.summary(space));
    for (const auto& space : replica_.invited)
      if (!ledger.roster(space)) all.push_back(replica_.summary(space));
    session_->on_summaries(std::move(all));
  } else if (auto* roster = std::get_if<effect::LoadRoster>(&effect)) {
    session_->on_roster_loaded(roster->space, roster->from, ledger.load_roster(roster->space, roster->from, 1u << 20));
  } else if (auto* load = std::get_if<effect::LoadSegments>(&effect)) {
    auto loaded = ledger.load_segments(load->space, load->log, load->after, load->expect, load->bytes_max);
    ASSERT_TRUE(loaded);
    seen.segments_sent += loaded->segments.size();
    session_->on_segments_loaded(load->space, load->log, load->after, std::move(loaded->segments), loaded->diverged);
  } else if (auto* entries = std::get_if<effect::AppendRoster>(&effect)) {
    ASSERT_TRUE(ledger.begin());
    const auto result = ledger.append_roster(entries->space, entries->first, entries->entries);
    ASSERT_TRUE(result && ledger.commit());
    session_->on_roster_stored(entries->space, replica_.summary(entries->space), result->status);
  } else if (auto* segments = std::get_if<effect::AppendSegments>(&effect)) {
    append(*segments);
  } else if (auto* hello = std::get_if<effect::PeerHello>(&effect)) {
    seen.store = hello->store;
    seen.receipt_key = hello->receipt_key;
  } else if (auto* ready = std::get_if<effect::SpaceReady>(&effect)) {
    seen.ready.insert(ready->space);
  } else if (auto* done = std::get_if<effect::PeerStored>(&effect)) {
    stored(*done);
  } else if (auto* refused = std::get_if<effect::PeerRefused>(&effect)) {
    seen.refused[refused->log] = refused->code;
  } else if (auto* proposal = std::get_if<effect::Proposal>(&effect)) {
    seen.proposals.push_back(proposal->bytes);
  } else if (auto* locate = std::get_if<effect::Locate>(&effect)) {
    session_->on_located(locate->space, locate->log, *ledger.locate(locate->space, locate->log, locate->locator));
  } else if (auto* make = std::get_if<effect::MakeLocator>(&effect)) {
    session_->on_locator(make->space, make->log, *ledger.locator(make->space, make->log));
  } else if (auto* split = std::get_if<effect::Split>(&effect)) {
    ASSERT_TRUE(ledger.begin() && ledger.split(split->space, split->log, split->position) && ledger.commit());
    session_->on_summary(replica_.summary(split->space));
  } else if (std::holds_alternative<effect::Level>(effect)) {
    ++seen.levels;
  } else if (auto* close = std::get_if<effect::Close>(&effect)) {
    if (!seen.closed) seen.closed = close->code;
    channel_->close(close->code);
  }
}

void TestClient::append(const effect::AppendSegments& append) {
  std::vector<SharedBytes> segments;
  for (const auto& segment : append.segments) segments.push_back(std::make_shared<const Bytes>(segment));
  seen.segments_received += segments.size();
  auto& ledger = replica_.ledger;
  ASSERT_TRUE(ledger.begin());
  auto result = ledger.append_segments(1, replica_.owner.transport.public_key, append.space, append.log, append.first, segments);
  ASSERT_TRUE(result && ledger.commit());
  session_->on_segments_stored(append.space, append.log, result->stored);
  if (result->split) session_->on_summary(replica_.summary(append.space));
}

void TestClient::stored(const effect::PeerStored& stored) {
  if (!stored.receipt) return;
  Hash hash;
  const auto logs = replica_.store.logs();
  for (const auto& log : *logs)
    if (log.id == stored.log && log.space == stored.space) hash = replica_.store.hash_at(log.number, stored.position)->value_or(Hash{});
  if (stored.receipt->store != seen.store ||
      !receipt_holds(*stored.receipt, seen.receipt_key, stored.space, stored.log, stored.position, hash)) {
    ++seen.receipts_wrong;
    return;
  }
  seen.receipts[stored.log] = stored.position;
  if (on_receipt) on_receipt(stored.log, stored.position);
}

void TestClient::announce(const Writer& writer, Position first) {
  const auto head = replica_.ledger.head(writer.village.id(), writer.id());
  ASSERT_TRUE(head);
  std::vector<SharedBytes> segments;
  // Many of them are loaded by the session's window.
  for (auto at = first; at <= head->position && head->position - first < 64; ++at)
    segments.push_back(std::make_shared<const Bytes>(writer.segments[at - 1]));
  session_->on_new_segments(writer.village.id(), *head, first, segments);
  run_effects();
  doorstep::append(out_, channel_->take_output());
}

void TestClient::announce_roster(const Village& village) {
  session_->on_new_roster(replica_.summary(village.id()));
  run_effects();
  doorstep::append(out_, channel_->take_output());
}

void TestClient::propose(const SpaceId& space, ByteView proposal) {
  session_->propose(space, proposal);
  run_effects();
}

}  // namespace doorstep::relay
