// doorstep-bench-village: the village workload, ours beside plain SQLite. tests/bench/village.sh builds and runs it.
//   doorstep-bench-village [--data FILE.jsonl] [--work DIR] [--only w1,w2,r1,rest,s1,s2,s3,e1,prose] [--reps N] [OUT.json]
// Every replica, the relay and every plain measurement is a process of its own; all traffic passes through a counting proxy here.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "doorstep/version.hpp"
#include "tests/bench/village/data.hpp"
#include "tests/bench/village/proxy.hpp"
#include "tests/bench/village/report.hpp"
#include "tests/bench/village/roles.hpp"
#include "tests/e2e/process.hpp"

namespace doorstep::bench {

namespace fs = std::filesystem;
using e2e::Process;
using Words = std::vector<std::string>;

namespace {

struct Failed {
  std::string why;
};

std::string self() { return fs::read_symlink("/proc/self/exe").string(); }
// A bench, not a test: each measurement begins on an idle machine, and what is still on the wire belongs to the one before.
void sleep_ms(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

std::uint64_t bytes_in(const fs::path& directory, std::uint64_t* blocks = nullptr, int* files = nullptr) {
  std::uint64_t out = 0;
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    out += entry.file_size();
    if (blocks) *blocks += (entry.file_size() + 4095) / 4096 * 4096;
    if (files) ++*files;
  }
  return out;
}

double peak_mb(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) * 1024 / 1e6;
  return 0;
}

class Agent {
 public:
  Agent() : process_({self(), "agent"}) {}
  Words call(const std::string& words, int deadline_ms = 300'000) {
    send(words);
    return answer(words, deadline_ms);
  }
  void send(const std::string& words) {
    if (!process_.write(words + "\n")) throw Failed{"an agent is gone: " + words};
  }
  Words answer(const std::string& words, int deadline_ms = 300'000) {
    const auto line = process_.line(deadline_ms);
    if (!line) throw Failed{words.substr(0, 60) + ": no answer; " + process_.finish(1000).err};
    if (!line->starts_with("ok")) throw Failed{words.substr(0, 60) + ": " + *line};
    Words out;
    std::istringstream in(line->substr(2));
    for (std::string word; in >> word;) out.push_back(word);
    out.resize(std::max<std::size_t>(out.size(), 8));
    return out;
  }
  double peak() const { return peak_mb(process_.pid()); }

 private:
  Process process_;
};

class Relay {
 public:
  Relay(std::string directory, const std::string& authority) : directory_(std::move(directory)) {
    const auto made = e2e::run({"doorstep-relay", "init", "--data", directory_, "--authority", authority, "--address", "127.0.0.1:7340"});
    const auto at = made.out.find("key ");
    if (made.code != 0 || at == std::string::npos) throw Failed{"doorstep-relay init: " + made.out + made.err};
    key = made.out.substr(at + 4, 64);
  }
  void serve() {
    process_ =
        std::make_unique<Process>(Words{"doorstep-relay", "serve", "--data", directory_, "--listen", "127.0.0.1:0", "--log-level", "warn"});
    while (const auto line = process_->line(20'000)) {
      const auto at = line->find("127.0.0.1:");
      if (at == std::string::npos) continue;
      port = std::stoi(line->substr(at + 10));
      return;
    }
    throw Failed{"doorstep-relay serve: " + process_->finish(1000).err};
  }
  double peak() const { return peak_mb(process_->pid()); }
  const std::string& directory() const { return directory_; }
  std::string key;
  int port = 0;

 private:
  std::string directory_;
  std::unique_ptr<Process> process_;
};

/// A relay, a desk (A) and a member (B) whose stores know each other and are empty.
struct Village {
  std::string a_dir, b_dir, a_key, b_key;
  std::unique_ptr<Relay> relay;
  std::unique_ptr<Proxy> a_proxy, b_proxy;

  Village(const fs::path& at, bool keep_traffic) {
    fs::remove_all(at);
    fs::create_directories(at);
    a_dir = (at / "A").string();
    b_dir = (at / "B").string();
    Agent a, b;
    a_key = a.call("create " + a_dir + " 0")[0];
    b_key = b.call("create " + b_dir + " 0")[0];
    relay = std::make_unique<Relay>((at / "relay").string(), a.call("authority")[0]);
    relay->serve();
    a_proxy = std::make_unique<Proxy>(relay->port, keep_traffic);
    b_proxy = std::make_unique<Proxy>(relay->port, keep_traffic);
    a.call("found " + relay->key);
    const auto uri = a.call("invite")[0];
    a.call("sync " + a_proxy->address());
    b.call("join " + uri);
    b.call("sync " + b_proxy->address());
    a.call("sync " + a_proxy->address());
    if (a.call("admit")[0] != "1") throw Failed{"B's request did not arrive"};
    a.call("sync " + a_proxy->address());
    b.call("sync " + b_proxy->address());
    a.call("close");
    b.call("close");
  }
};

struct Options {
  std::string data, out, only;
  fs::path work;
  int reps = 3;
  bool wants(const std::string& what) const { return only.empty() || ("," + only + ",").find("," + what + ",") != std::string::npos; }
};

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)) {}

  int run() {
    fs::create_directories(options_.work);
    if (options_.data.empty()) {
      options_.data = (options_.work / "village.jsonl").string();
      generate(options_.data, {});
    }
    Lines lines(options_.data);
    for (Line line; lines.next(line);) {
      ++records_;
      raw_ += line.bytes;
      if (line.person())
        ++persons_, person_ids_.push_back(line["id"]), idnos_.push_back(line["idno"]);
      else if (line["person"] == person_ids_[person_ids_.size() / 2])
        ++middle_visits_;
    }
    if (person_ids_.size() < 2) throw Failed{options_.data + " holds no village"};
    out_ = {{"peer", "doorstep"},
            {"versions", {{"doorstep", version}}},
            {"durability", "fsync before every return and every acknowledgement, on replicas and relay"},
            {"encryption", "end to end and at rest; the relay sees sizes and times"},
            {"conflict", "both values stand and are listed in the conflict inbox; history keeps every value"},
            {"notes", Json::array()},
            {"errors", Json::array()},
            {"records", records_},
            {"rawBytes", raw_}};
    std::printf("village: %zu records, %.2f MB of JSON (raw), %s\n", records_, mb(raw_), options_.data.c_str());
    step("w1", [this] { w1(); });
    step("w2", [this] { w2_and_s1(); });
    step("r1", [this] { r1(); });
    step("rest", [this] { at_rest(); });
    step("s2", [this] { s2(); });
    step("s3", [this] { s3(); });
    step("e1", [this] { e1(); });
    step("prose", [this] { prose(); });
    report_.print();
    for (const auto& note : report_.notes()) out_["notes"].push_back(note);
    for (const auto& error : out_["errors"]) std::printf("ERROR %s\n", error.get<std::string>().c_str());
    if (!options_.out.empty()) std::ofstream(options_.out) << out_.dump(1) << "\n";
    const auto [goals, limits] = report_.missed();
    std::printf("%d goals and %d limits not met, %zu errors\n", goals, limits, out_["errors"].size());
    a_.reset();
    b_.reset();
    village_.reset();
    fs::remove_all(options_.work);
    return out_["errors"].empty() ? 0 : 1;
  }

 private:
  static double mb(double bytes) { return bytes / 1e6; }
  template <class Body>
  void step(const std::string& name, const Body& body) {
    const bool part_of_w2 = name == "w2" && (options_.wants("s1") || options_.wants("r1") || options_.wants("rest") ||
                                             options_.wants("s2") || options_.wants("s3") || options_.wants("e1"));
    if (!options_.wants(name) && !part_of_w2) return;
    const auto begin = now_ns();
    try {
      body();
    } catch (const Failed& failed) { fail(name + ": " + failed.why); } catch (const std::exception& error) {
      fail(name + ": " + error.what());
    }
    std::fprintf(stderr, "%s %.1f s\n", name.c_str(), static_cast<double>(now_ns() - begin) / 1e9);
  }
  void fail(const std::string& why) {
    std::fprintf(stderr, "FAILED %s\n", why.c_str());
    out_["errors"].push_back(why);
  }
  void expect(bool holds, const std::string& why) {
    if (!holds) fail(why);
  }
  fs::path at(const std::string& name) const { return options_.work / name; }
  double plain(const std::string& what, Stat* cpu, const std::string& more = "") {
    const auto path = at("plain.db").string();
    for (const char* end : {"", "-wal", "-shm"}) fs::remove(path + end);
    Words words = {self(), "plain", what, path, options_.data};
    if (!more.empty()) words.push_back(more);
    const auto done = e2e::run(words);
    if (done.code != 0) throw Failed{"plain SQLite: " + done.err};
    if (cpu) cpu->add(std::stod(done.out.substr(done.out.find(' '))));
    return std::stod(done.out);
  }
  /// A store of its own with a space and no relay.
  std::string lone_store(const fs::path& directory, bool unsealed) {
    fs::remove_all(directory);
    Agent agent;
    const auto key = agent.call("create " + directory.string() + (unsealed ? " 1" : " 0"))[0];
    agent.call("found -");
    agent.call("close");
    return key;
  }

  void w1() {
    constexpr int n = 2000;
    Stat ours, theirs, unsealed, our_cpu, their_cpu;
    for (int i = 0; i < options_.reps; ++i) {
      theirs.add(n / plain("w1", &their_cpu, std::to_string(n)));
      for (const bool plain_pages : {false, true}) {
        const auto key = lone_store(at("w1"), plain_pages);
        Agent agent;
        agent.call("open " + at("w1").string() + " " + key + (plain_pages ? " 1" : " 0"));
        const auto done = agent.call("w1 " + options_.data + " " + std::to_string(n));
        (plain_pages ? unsealed : ours).add(n / std::stod(done[0]));
        if (!plain_pages) our_cpu.add(std::stod(done[2]));
      }
    }
    fs::remove_all(at("w1"));
    out_["w1"] = {{"n", n}, {"rate", ours.json()}};
    const double ratio = ours.median() / theirs.median();
    report_.add({"W1 one durable transaction a record", "rec/s", ours.median(), spread_of(ours),
                 "plain SQLite FULL, same tables " + show(theirs.median()) + ": ×" + show(ratio), ratio, -0.85, 0});
    report_.note("W1 with this code over plain pages: " + show(unsealed.median()) + " rec/s; plain SQLite with the same tables: " +
                 show(theirs.median()) + " " + spread_of(theirs) + " rec/s; CPU a record " + show(our_cpu.median() / n * 1e6) +
                 " µs, plain SQLite " + show(their_cpu.median() / n * 1e6) + " µs (the rest is the disk's)");
  }

  void w2_and_s1() {
    Stat our_cpu, same_cpu, rate, rss, same, rows, unsealed, leg1, leg2, a_up, a_down, b_up, b_down, rss_a, rss_relay, rss_b, rss_open;
    std::uint64_t store = 0, blocks = 0, relay_bytes = 0, b_bytes = 0;
    int files = 0;
    for (int i = 0; i < options_.reps; ++i) {
      same.add(static_cast<double>(records_) / plain("w2", &same_cpu));
      rows.add(static_cast<double>(records_) / plain("rows", nullptr));
      {
        const auto key = lone_store(at("w2"), true);
        Agent agent;
        agent.call("open " + at("w2").string() + " " + key + " 1");
        unsealed.add(static_cast<double>(records_) / std::stod(agent.call("bulk " + options_.data)[0]));
      }
      fs::remove_all(at("w2"));
      a_.reset();
      b_.reset();
      village_ = std::make_unique<Village>(at("village"), i == options_.reps - 1);
      {
        Agent agent;
        agent.call("open " + village_->a_dir + " " + village_->a_key + " 0");
        const auto done = agent.call("bulk " + options_.data);
        expect(done[1] == std::to_string(records_), "w2: " + done[1] + " records instead of " + std::to_string(records_));
        rate.add(static_cast<double>(records_) / std::stod(done[0]));
        our_cpu.add(std::stod(done[2]));
        agent.call("close");
        rss.add(agent.peak());
      }
      blocks = 0, files = 0;
      store = bytes_in(village_->a_dir, &blocks, &files);
      if (!(options_.wants("s1") || options_.wants("s2") || options_.wants("s3") || options_.wants("e1"))) continue;

      a_ = std::make_unique<Agent>();
      b_ = std::make_unique<Agent>();
      a_->call("open " + village_->a_dir + " " + village_->a_key + " 0");
      rss_open.add(a_->peak());
      const Wire a_before = village_->a_proxy->wire(), b_before = village_->b_proxy->wire();
      const auto up = a_->call("sync " + village_->a_proxy->address());
      expect(up[4] == "0", "s1: " + up[4] + " transactions of A have no receipt");
      leg1.add(std::stod(up[0]));
      sleep_ms(300);
      b_->call("open " + village_->b_dir + " " + village_->b_key + " 0");
      const auto down = b_->call("sync " + village_->b_proxy->address());
      leg2.add(std::stod(down[0]));
      sleep_ms(300);
      const Wire a_wire = village_->a_proxy->wire() - a_before, b_wire = village_->b_proxy->wire() - b_before;
      a_up.add(static_cast<double>(a_wire.up)), a_down.add(static_cast<double>(a_wire.down));
      b_up.add(static_cast<double>(b_wire.up)), b_down.add(static_cast<double>(b_wire.down));
      rss_a.add(a_->peak()), rss_b.add(b_->peak()), rss_relay.add(village_->relay->peak());
      relay_bytes = bytes_in(village_->relay->directory());
      b_bytes = bytes_in(village_->b_dir);
      const auto counts = b_->call("count");
      expect(std::stoul(counts[0]) + std::stoul(counts[1]) == records_, "s1: B holds " + counts[0] + " + " + counts[1] + " records");
      expect(a_->call("digest")[0] == b_->call("digest")[0], "s1: A and B do not hold the same");
      if (i == options_.reps - 1) {
        const auto check = b_->call("check " + options_.data + " 97");
        expect(check[0] == check[1], "s1: " + check[0] + " of " + check[1] + " sampled records came back whole");
        report_.note("records of the file that were compared with B's, member by member: " + check[0] + " of " + check[1] + " equal");
      }
    }
    const double raw = static_cast<double>(raw_), ratio = rate.median() / same.median();
    out_["w2"] = {
        {"rate", rate.json()}, {"bytes", store}, {"diskBlocks", blocks}, {"files", files}, {"ratio", static_cast<double>(store) / raw},
        {"rss", rss.json(1e6)}};
    report_.add({"W2 all at once", "rec/s", rate.median(), spread_of(rate),
                 "plain SQLite, same tables " + show(same.median()) + ": ×" + show(ratio), ratio, -0.7, -0.5});
    report_.add({"W2 all at once, beside the best peer", "rec/s", rate.median(), "", "2 × PouchDB's 21,713 on another day", rate.median(),
                 -43426, 0});
    report_.add({"W2 store", "MB", mb(static_cast<double>(store)), "", "× raw " + show(static_cast<double>(store) / raw),
                 static_cast<double>(store) / raw, 0.9, 1.2});
    report_.add({"W2 peak memory", "MB", rss.median(), spread_of(rss), "", rss.median(), 40, 80});
    report_.note("W2 with this code over plain pages: " + show(unsealed.median()) + " rec/s; plain SQLite, one table of JSON rows: " +
                 show(rows.median()) + " rec/s; CPU " + show(our_cpu.median()) + " s, plain SQLite with the same tables " +
                 show(same_cpu.median()) + " s: × " + show(same_cpu.median() / our_cpu.median()));
    if (leg1.values.empty()) return;
    out_["s1"] = {{"leg1", leg1.json()},     {"leg2", leg2.json()},
                  {"aUp", a_up.json()},      {"aDown", a_down.json()},
                  {"bUp", b_up.json()},      {"bDown", b_down.json()},
                  {"rssA", rss_a.json(1e6)}, {"rssServer", rss_relay.json(1e6)},
                  {"rssB", rss_b.json(1e6)}, {"rssAopen", rss_open.json(1e6)},
                  {"srvBytes", relay_bytes}, {"bBytes", b_bytes},
                  {"srvCount", records_}};
    report_.add({"S1 A to relay", "s", leg1.median(), spread_of(leg1), "", leg1.median(), 0.4, 1.34});
    report_.add({"S1 relay to B", "s", leg2.median(), spread_of(leg2), "", leg2.median(), 0.5, 1.61});
    const double up_ratio = (a_up.median() + a_down.median()) / raw, down_ratio = (b_up.median() + b_down.median()) / raw;
    report_.add({"S1 wire of A's leg, both directions", "MB", mb(a_up.median() + a_down.median()), "", "× raw " + show(up_ratio), up_ratio,
                 0.20, 0.25});
    report_.add({"S1 wire of B's leg, both directions", "MB", mb(b_up.median() + b_down.median()), "", "× raw " + show(down_ratio),
                 down_ratio, 0.20, 0.25});
    report_.add({"S1 relay's store", "MB", mb(static_cast<double>(relay_bytes)), "",
                 "× raw " + show(static_cast<double>(relay_bytes) / raw), static_cast<double>(relay_bytes) / raw, 0.30, 0});
    report_.add({"S1 B's store", "MB", mb(static_cast<double>(b_bytes)), "", "× raw " + show(static_cast<double>(b_bytes) / raw),
                 static_cast<double>(b_bytes) / raw, 0.9, 1.2});
    report_.add({"S1 peak memory of A", "MB", rss_a.median(), spread_of(rss_a), "after opening " + show(rss_open.median()), rss_a.median(),
                 40, 80});
    report_.add({"S1 peak memory of the relay", "MB", rss_relay.median(), spread_of(rss_relay), "", rss_relay.median(), 40, 80});
    report_.add({"S1 peak memory of B", "MB", rss_b.median(), spread_of(rss_b), "", rss_b.median(), 40, 80});
  }

  /// From before the process starts to its first whole line.
  static std::pair<double, std::string> cold(const Words& words) {
    const auto begin = now_ns();
    Process process(words);
    const auto line = process.line(20'000);
    const auto end = now_ns();
    if (!line) throw Failed{"r1: " + process.finish(1000).err};
    return {static_cast<double>(end - begin) / 1e6, *line};
  }

  void r1() {
    if (!village_) return;
    // The replica is in nobody's hands for a moment: one process at a time.
    const bool held = a_ != nullptr;
    if (held) a_->call("close");
    Stat ms, bare;
    Json answer;
    for (int i = 0; i < 7; ++i) {
      const auto [took, line] = cold({self(), "cold", village_->a_dir, village_->a_key, person_ids_[person_ids_.size() / 2]});
      ms.add(took);
      answer = Json::parse(line);
      bare.add(cold({self(), "bare"}).first);
    }
    if (held) a_->call("open " + village_->a_dir + " " + village_->a_key + " 0");
    expect(answer["visits"] == middle_visits_, "r1: " + answer.dump() + ", wanted " + std::to_string(middle_visits_) + " visits");
    out_["r1"] = {{"ms", ms.json()}, {"bareNode", bare.json()}, {"answer", answer}};
    report_.add({"R1 process start to one person, with visits", "ms", ms.median(), spread_of(ms), "a bare process " + show(bare.median()),
                 ms.median(), 10, 0});
  }

  void at_rest() {
    if (!village_) return;
    const bool held = a_ != nullptr;
    if (held) a_->call("close");
    const auto path = at("rest.db").string();
    const auto done = e2e::run({self(), "rest", village_->a_dir, village_->a_key, options_.data, path});
    if (held) a_->call("open " + village_->a_dir + " " + village_->a_key + " 0");
    if (done.code != 0) throw Failed{"at rest: " + done.err};
    std::istringstream in(done.out);
    double ours = 0, theirs = 0, our_scan = 0, their_scan = 0;
    in >> ours >> theirs >> our_scan >> their_scan;
    report_.add({"At rest, point reads", "1/s", ours, "", "plain SQLite, JSON rows " + show(theirs) + ": ×" + show(ours / theirs),
                 ours / theirs, -0.6, 0});
    report_.add({"At rest, scan", "rec/s", our_scan, "",
                 "plain SQLite, JSON rows " + show(their_scan) + ": ×" + show(our_scan / their_scan), our_scan / their_scan, -0.4, 0});
  }

  void connect_both() {
    a_->call("connect " + village_->a_proxy->address());
    b_->call("connect " + village_->b_proxy->address());
    // What a service says of its progress may be a tenth of a second old, and it says nothing while nothing happens.
    for (int i = 0; i < 40 && !(a_->call("progress")[0] == "1" && b_->call("progress")[0] == "1"); ++i) sleep_ms(25);
    for (Agent* agent : {a_.get(), b_.get()})
      if (const auto problem = agent->call("progress"); !problem[1].empty())
        throw Failed{"no connection: " + problem[1] + " " + problem[2]};
  }

  void s2() {
    if (!a_ || !b_) return;
    connect_both();
    Stat ms, set_ms, a_up, a_down, b_up, b_down, all;
    for (std::size_t i = 0; i < 20; ++i) {
      const auto& id = person_ids_[i * 37 % person_ids_.size()];
      const auto value = "13800" + std::to_string(100000 + i);
      b_->call("arm " + id + " phone " + value);
      sleep_ms(200);
      const Wire a_before = village_->a_proxy->wire(), b_before = village_->b_proxy->wire();
      const auto times = a_->call("set " + id + " phone " + value);
      const auto seen = b_->call("seen");
      ms.add(static_cast<double>(std::stoll(seen[0]) - std::stoll(times[0])) / 1e6);
      set_ms.add(static_cast<double>(std::stoll(times[1]) - std::stoll(times[0])) / 1e6);
      sleep_ms(300);
      const Wire a = village_->a_proxy->wire() - a_before, b = village_->b_proxy->wire() - b_before;
      a_up.add(static_cast<double>(a.up)), a_down.add(static_cast<double>(a.down));
      b_up.add(static_cast<double>(b.up)), b_down.add(static_cast<double>(b.down));
      all.add(static_cast<double>(a.all() + b.all()));
    }
    out_["s2"] = {{"ms", ms.json()}, {"setMs", set_ms.json()}, {"aUp", a_up.json()}, {"bDown", b_down.json()}, {"all", all.json()}};
    report_.add({"S2 one field changed, until B sees it", "ms", ms.median(), spread_of(ms), "the write call " + show(set_ms.median()),
                 ms.median(), 1.5, 0});
    report_.add({"S2 wire, all four directions", "B", all.median(), spread_of(all),
                 "A up " + show(a_up.median()) + " down " + show(a_down.median()) + ", B up " + show(b_up.median()) + " down " +
                     show(b_down.median()),
                 all.median(), 600, 0});
    report_.add({"S2 wire, device up", "B", a_up.median(), "", "", a_up.median(), 260, 0});
  }

  void s3() {
    if (!a_ || !b_) return;
    a_->call("disconnect");
    b_->call("disconnect");
    sleep_ms(500);
    const auto wrote_a = a_->call("s3 A " + options_.data), wrote_b = b_->call("s3 B " + options_.data);
    const auto n = wrote_a[1];
    const auto state = [&](Agent& agent) { return agent.call("state " + options_.data + " " + n); };
    const auto before_a = state(*a_), before_b = state(*b_);
    const Wire a_before = village_->a_proxy->wire(), b_before = village_->b_proxy->wire();
    const auto begin = now_ns();
    a_->send("connect " + village_->a_proxy->address());
    b_->send("connect " + village_->b_proxy->address());
    a_->answer("connect"), b_->answer("connect");
    std::string digest_a, digest_b;
    auto end = now_ns();
    for (bool equal = false; !equal;) {
      sleep_ms(5);
      a_->send("digest"), b_->send("digest");
      digest_a = a_->answer("digest")[0], digest_b = b_->answer("digest")[0];
      end = now_ns();
      equal = digest_a == digest_b;
      if (end - begin > 120'000'000'000LL) throw Failed{"s3: never agreed"};
    }
    sleep_ms(1000);
    const auto after_a = state(*a_), after_b = state(*b_);
    const Wire a_wire = village_->a_proxy->wire() - a_before, b_wire = village_->b_proxy->wire() - b_before;
    const double ms = static_cast<double>(end - begin) / 1e6;
    const auto side = [&](const Words& counts, const std::string& digest) {
      return Json{{"sameA", std::stoi(counts[0])},
                  {"sameB", std::stoi(counts[1])},
                  {"diffA", std::stoi(counts[2])},
                  {"diffB", std::stoi(counts[3])},
                  {"n", std::stoi(n)},
                  {"hash", digest.substr(0, 16)}};
    };
    // The one that is not shown stands beside it, and the inbox lists both.
    const auto losers = [&](const Words& c) {
      return Json{{"sameLosersReadable", std::stoi(c[4]) + std::stoi(c[5]) - std::stoi(c[0]) - std::stoi(c[1])},
                  {"how", "RecordView::standing() and the conflict inbox"}};
    };
    out_["s3"] = {{"offlineWriteS", {std::stod(wrote_a[0]), std::stod(wrote_b[0])}},
                  {"ms", ms},
                  {"n", std::stoi(n)},
                  {"before", {side(before_a, "before A"), side(before_b, "before B")}},
                  {"A", side(after_a, digest_a)},
                  {"B", side(after_b, digest_b)},
                  {"agree", digest_a == digest_b},
                  {"losersA", losers(after_a)},
                  {"losersB", losers(after_b)},
                  {"wireA", {{"up", a_wire.up}, {"down", a_wire.down}}},
                  {"wireB", {{"up", b_wire.up}, {"down", b_wire.down}}}};
    report_.add({"S3 2 × " + std::to_string(2 * std::stoi(n)) + " offline edits, until both agree", "ms", ms, "",
                 "writing them offline " + show(std::stod(wrote_a[0]) * 1e3) + " and " + show(std::stod(wrote_b[0]) * 1e3) + " ms", ms, 250,
                 0});
    for (const auto* side_of : {&after_a, &after_b}) {
      const double values = std::stod((*side_of)[2]) + std::stod((*side_of)[3]) + std::stod((*side_of)[4]) + std::stod((*side_of)[5]);
      report_.add({std::string("S3 values shown or standing on ") + (side_of == &after_a ? "A" : "B"), "", values, "",
                   "in the inbox " + (*side_of)[6], values, -4.0 * std::stod(n), 0});
      expect((*side_of)[6] == n, "s3: the inbox lists " + (*side_of)[6] + " conflicts instead of " + n);
    }
    report_.note("S3 wire: A " + std::to_string(a_wire.all()) + " B, B " + std::to_string(b_wire.all()) + " B; pending after it: A " +
                 a_->call("pending")[0] + ", B " + b_->call("pending")[0]);
    day_batch(*village_, *a_, "the workload's phrases", false);
  }

  /// A day's 40 visits, written offline and synced at once.
  void day_batch(Village& village, Agent& agent, const std::string& text, bool prose) {
    const auto file = at("day.jsonl").string();
    generate(file, {.seed = 7, .persons = 0, .visits = 40, .prose = prose, .person_ids = person_ids_});
    agent.call("disconnect");
    agent.call("day " + file);
    const Wire before = village.a_proxy->wire();
    agent.call("sync " + village.a_proxy->address());
    const Wire wire = village.a_proxy->wire() - before;
    const auto json = static_cast<double>(fs::file_size(file));
    report_.note("a day's batch of 40 visits, " + text + ": " + show(static_cast<double>(wire.up) / 40) + " B up and " +
                 show(static_cast<double>(wire.down) / 40) + " B down a visit, handshake included, for " + show(json / 40) +
                 " B of JSON (× " + show(static_cast<double>(wire.all()) / json) + ")");
  }

  void e1() {
    if (!a_ || !b_) return;
    a_->call("close");
    b_->call("close");
    std::vector<std::string> pieces;
    for (auto at_end = idnos_.rbegin(); at_end != idnos_.rend() && pieces.size() < 200; ++at_end) pieces.push_back(at_end->substr(5, 12));
    const auto found_in = [&](const std::string& bytes) {
      std::vector<bool> out;
      for (const auto& piece : pieces) {
        std::string wide;
        for (const char c : piece) wide += c, wide += '\0';
        out.push_back(bytes.find(piece) != std::string::npos || bytes.find(wide) != std::string::npos);
      }
      return out;
    };
    const auto count = [&](const std::vector<std::string>& all) {
      std::vector<bool> any(pieces.size());
      for (const auto& bytes : all) {
        const auto found = found_in(bytes);
        for (std::size_t i = 0; i < any.size(); ++i) any[i] = any[i] || found[i];
      }
      return std::count(any.begin(), any.end(), true);
    };
    const auto files = [](const fs::path& directory) {
      std::vector<std::string> out;
      for (const auto& entry : fs::recursive_directory_iterator(directory))
        if (entry.is_regular_file()) out.push_back(e2e::read_file(entry.path()));
      return out;
    };
    const auto in_a = count(files(village_->a_dir)), in_b = count(files(village_->b_dir)),
               in_relay = count(files(village_->relay->directory()));
    const auto in_traffic = count({village_->a_proxy->traffic(), village_->b_proxy->traffic()});
    const auto control = count({e2e::read_file(options_.data)});
    const std::string of = " of " + std::to_string(pieces.size());
    out_["e1"] = {{"plainOnA", std::to_string(in_a) + of}, {"plainOnServer", std::to_string(in_relay) + of}};
    const auto found = in_a + in_b + in_relay + in_traffic;
    report_.add({"E1 identity numbers in files and traffic", "", static_cast<double>(found), "",
                 "A " + std::to_string(in_a) + ", B " + std::to_string(in_b) + ", relay " + std::to_string(in_relay) + ", traffic " +
                     std::to_string(in_traffic) + of + "; in the input itself " + std::to_string(control),
                 static_cast<double>(found), 0.5, 0.5});
    expect(control == static_cast<std::ptrdiff_t>(pieces.size()), "e1: the search does not find what is there");
    a_.reset();
    b_.reset();
    village_.reset();
  }

  void prose() {
    const auto file = at("prose.jsonl").string();
    generate(file, {.prose = true});
    double raw = -22000;
    raw += static_cast<double>(fs::file_size(file));
    a_.reset();
    b_.reset();
    village_ = std::make_unique<Village>(at("village"), false);
    Agent agent;
    agent.call("open " + village_->a_dir + " " + village_->a_key + " 0");
    agent.call("bulk " + file);
    agent.call("close");
    const auto store = static_cast<double>(bytes_in(village_->a_dir));
    agent.call("open " + village_->a_dir + " " + village_->a_key + " 0");
    const Wire before = village_->a_proxy->wire();
    const auto up = agent.call("sync " + village_->a_proxy->address());
    const Wire wire = village_->a_proxy->wire() - before;
    report_.note("random prose in place of phrases: wire " + show(mb(static_cast<double>(wire.all()))) + " MB (× raw " +
                 show(static_cast<double>(wire.all()) / raw) + "), store × raw " + show(store / raw) + ", A to relay " + up[0] + " s");
    std::swap(person_ids_, prose_ids_);
    person_ids_.clear();
    Lines lines(file);
    for (Line line; lines.next(line);)
      if (line.person()) person_ids_.push_back(line["id"]);
    day_batch(*village_, agent, "random prose", true);
    std::swap(person_ids_, prose_ids_);
  }

  Options options_;
  std::size_t records_ = 0, persons_ = 0, middle_visits_ = 0;
  std::uint64_t raw_ = 0;
  std::vector<std::string> person_ids_, prose_ids_, idnos_;
  std::unique_ptr<Village> village_;
  std::unique_ptr<Agent> a_, b_;
  Report report_;
  Json out_;
};

int run_bench(const Words& words) {
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool more = i + 1 < words.size();
    if (words[i] == "--data" && more)
      options.data = fs::absolute(words[++i]).string();
    else if (words[i] == "--work" && more)
      options.work = words[++i];
    else if (words[i] == "--only" && more)
      options.only = words[++i];
    else if (words[i] == "--reps" && more)
      options.reps = std::stoi(words[++i]);
    else if (words[i].starts_with("--"))
      return std::fprintf(stderr, "doorstep-bench-village [--data FILE.jsonl] [--work DIR] [--only LIST] [--reps N] [OUT.json]\n"), 2;
    else
      options.out = words[i];
  }
  if (options.work.empty()) options.work = fs::temp_directory_path() / ("doorstep-village-" + std::to_string(now_ns()));
  try {
    return Bench(std::move(options)).run();
  } catch (const Failed& failed) {
    std::fprintf(stderr, "village: %s\n", failed.why.c_str());
    return 1;
  }
}

}  // namespace

}  // namespace doorstep::bench

int main(int argc, char** argv) {
  using namespace doorstep::bench;
  const Words words(argv + 1, argv + argc);
  const std::string role = words.empty() ? "" : words[0];
  const Words rest(words.begin() + (words.empty() ? 0 : 1), words.end());
  if (role == "agent") return run_agent();
  if (role == "cold") return run_cold(rest);
  if (role == "rest") return run_at_rest(rest);
  if (role == "plain") return run_plain(rest);
  if (role == "bare") return std::puts("1") < 0;
  if (role == "generate") return generate(rest.at(0), {.prose = rest.size() > 1 && rest[1] == "prose"}), 0;
  return run_bench(words);
}
