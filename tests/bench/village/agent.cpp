// One replica as a process. Words it understands (arguments have no spaces):
//   create DIR PLAIN         -> key device          found KEY(relay) -> space authority     authority
//   open DIR KEY PLAIN       -> milliseconds        invite -> uri    join URI               admit -> how many
//   sync HOST:PORT           -> seconds sent received level pending   (one whole sync())
//   connect HOST:PORT        live, until disconnect                   progress -> level problem
//   w1 FILE N | bulk FILE | day FILE  -> seconds records cpu-seconds  (without the time of reading the file)
//   set ID FIELD VALUE       -> before after (ns)   arm ID FIELD VALUE, seen -> ns          s3 WHO FILE -> seconds
//   digest | count | pending | state FILE N | check FILE EVERY | close
#include <algorithm>
#include <condition_variable>
#include <iostream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>
#include <unordered_map>

#include <time.h>

#include "doorstep/doorstep.hpp"
#include "tests/bench/village/data.hpp"
#include "tests/bench/village/roles.hpp"

namespace doorstep::bench {

long long now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

long long cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

namespace {

using Words = std::vector<std::string>;

struct Failed {
  std::string why;
};
template <class T>
T must(Result<T> result) {
  if (!result) throw Failed{result.error().message()};
  return std::move(*result);
}
void must(const Status& status) {
  if (!status) throw Failed{status.error().message()};
}

std::string seconds(long long ns) { return std::to_string(static_cast<double>(ns) / 1e9); }

class Agent {
 public:
  std::string act(const Words& words) {
    const std::string& word = words.at(0);
    if (word == "create") return create(words.at(1), words.at(2) == "1");
    if (word == "open") return open(words.at(1), words.at(2), words.at(3) == "1");
    if (word == "authority") return must(replica_->authority()).hex();
    if (word == "found") return found(words.at(1));
    if (word == "invite") return must(replica_->invite(space_, {}));
    if (word == "join") return must(replica_->join(words.at(1), "B")), "";
    if (word == "admit") return admit();
    if (word == "sync") return sync_once(words.at(1));
    if (word == "connect") return connect(words.at(1));
    if (word == "disconnect") return service_.reset(), "";
    if (word == "progress") return std::to_string(service_ && service_->progress().level) + " " + (service_ ? service_->problem() : "");
    if (word == "w1") return w1(words.at(1), std::stoi(words.at(2)));
    if (word == "bulk") return bulk(words.at(1));
    if (word == "day") return day(words.at(1));
    if (word == "set") return set(words.at(1), words.at(2), words.at(3));
    if (word == "arm") return arm(words.at(1), words.at(2), words.at(3));
    if (word == "seen") return seen();
    if (word == "s3") return s3(words.at(1) == "A", words.at(2));
    if (word == "digest") return must(replica_->state_digest(space_)).hex();
    if (word == "count")
      return std::to_string(must(replica_->count(space_, "p"))) + " " + std::to_string(must(replica_->count(space_, "v")));
    if (word == "pending") return std::to_string(must(replica_->pending(space_)).transactions);
    if (word == "state") return state(words.at(1), std::stoul(words.at(2)));
    if (word == "check") return check(words.at(1), std::stoul(words.at(2)));
    if (word == "close") return service_.reset(), replica_.reset(), "";
    throw Failed{"unknown word " + word};
  }

 private:
  static ReplicaOptions options(const std::string& directory, bool plain) {
    ReplicaOptions out;
    out.directory = directory;
    out.schema = village_schema();
    out.passphrase_cost = {19 * 1024, 2};
    out.unencrypted_for_benchmarks = plain;
    return out;
  }
  void learn_space() {
    const auto spaces = must(replica_->spaces());
    if (!spaces.empty()) space_ = spaces.front().id;
  }

  std::string create(const std::string& directory, bool plain) {
    replica_.emplace(must(Replica::create(options(directory, plain), "village")));
    const SymmetricKey key = must(replica_->database_key());
    std::string hex;
    for (const auto byte : key.reveal()) hex += "0123456789abcdef"[byte >> 4], hex += "0123456789abcdef"[byte & 15];
    return hex + " " + replica_->device().hex();
  }

  std::string open(const std::string& directory, const std::string& key_hex, bool plain) {
    const auto begin = now_ns();
    const auto bytes = Hash::parse(key_hex);
    if (!bytes) throw Failed{"no key"};
    replica_.emplace(must(Replica::open_with_key(options(directory, plain), SymmetricKey(std::span<const std::uint8_t, 32>(bytes->data)))));
    learn_space();
    return std::to_string(static_cast<double>(now_ns() - begin) / 1e6);
  }

  std::string found(const std::string& relay_key) {
    Replica::FoundOptions founding;
    founding.name = "village";
    founding.label = "A";
    if (relay_key != "-") {
      const auto key = TransportPublicKey::parse(relay_key);
      if (!key) throw Failed{"no relay key"};
      founding.relays = {{*key, {"127.0.0.1:7340"}}};  // the proxy stands in for the address
    }
    space_ = must(replica_->found(founding));
    return space_.hex();
  }

  std::string admit() {
    const auto applicants = must(replica_->applicants(space_));
    for (const auto& one : applicants) must(replica_->admit(space_, one.device));
    return std::to_string(applicants.size());
  }

  std::string sync_once(const std::string& proxy) {
    SyncOptions sync_options;
    sync_options.proxy = proxy;
    sync_options.timeout_ms = 120'000;
    const auto begin = now_ns();
    const auto report = must(sync(*replica_, sync_options));
    const auto end = now_ns();
    if (space_ == SpaceId{}) learn_space();
    std::string warnings;
    for (const auto& warning : report.warnings) warnings += " | " + warning;
    return seconds(end - begin) + " " + std::to_string(report.transactions_sent) + " " + std::to_string(report.transactions_received) +
           " " + std::to_string(report.level) + " " + std::to_string(must(replica_->pending(space_)).transactions) + warnings;
  }

  std::string connect(const std::string& proxy) {
    SyncOptions sync_options;
    sync_options.proxy = proxy;
    service_.emplace(*replica_, sync_options);
    return "";
  }

  // ---- Writing a village

  RecordId person(const std::string& id) {
    if (const auto at = persons_.find(id); at != persons_.end()) return at->second;
    const auto found = must(replica_->query(space_, {.kind = "p", .where = {{"id", QueryCondition::Op::equal, id}}}));
    if (found.empty()) throw Failed{"no person " + id};
    return persons_[id] = found.front().id();
  }
  void put(Write& write, const Line& line) {
    const bool is_person = line.person();
    const RecordId record = write.create(is_person ? "p" : "v");
    if (is_person) persons_[line["id"]] = record;
    const auto& fields = fields_of(is_person);
    std::size_t at = 0;
    for (const auto& item : line.items) {
      if (item.name == "kind") continue;
      // Members come in the order of the fields, unless the file is somebody else's.
      if (at >= fields.size() || item.name != fields[at].name)
        at = static_cast<std::size_t>(std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return item.name == f.name; }) -
                                      fields.begin());
      if (at == fields.size()) throw Failed{"the file has a field " + item.name};
      Value value = value_of(fields[at].type, item, [this](const std::string& id) { return person(id); });
      if (!has_value(value)) throw Failed{"a field " + item.name + " is none: " + item.text};
      write.set(record, fields[at].name, std::move(value));
      ++at;
    }
  }
  /// Everything in `file` that `wanted` takes, in one durable commit. Returns what it took but for reading the file.
  template <class Wanted>
  long long put_all(const std::string& file, const Wanted& wanted, std::size_t& created) {
    Lines lines(file);
    Line line;
    long long reading = 0;
    const auto next = [&] {
      const auto begin = now_ns();
      bool found = lines.next(line);
      while (found && !wanted(line)) found = lines.next(line);
      reading += now_ns() - begin;
      return found;
    };
    const auto begin = now_ns();
    const auto saved = must(replica_->transact(space_, [&](Write& write) -> Status {
      for (bool first = true; next() && !write.failed(); first = false) {
        if (!first) write.next_transaction();
        put(write, line);
      }
      return {};
    }));
    created = saved.created.size();
    return now_ns() - begin - reading;
  }

  std::string bulk(const std::string& file) {
    std::size_t created = 0;
    const auto reading_begin = cpu_ns();
    Lines lines(file);
    for (Line line; lines.next(line);) {}
    const auto begin = cpu_ns();
    const auto took = put_all(
        file, [](const Line&) { return true; }, created);
    return seconds(took) + " " + std::to_string(created) + " " + seconds(cpu_ns() - begin - (begin - reading_begin));
  }
  std::string w1(const std::string& file, int count) {
    std::size_t created = 0;
    put_all(
        file, [](const Line& line) { return line.person(); }, created);
    std::vector<Line> visits;
    Lines lines(file);
    for (Line line; static_cast<int>(visits.size()) < count && lines.next(line);)
      if (!line.person()) visits.push_back(line);
    const auto begin = now_ns(), cpu_begin = cpu_ns();
    for (const auto& visit : visits) must(replica_->transact(space_, [&](Write& write) -> Status { return put(write, visit), Status(); }));
    const auto end = now_ns();
    return seconds(end - begin) + " " + std::to_string(visits.size()) + " " + seconds(cpu_ns() - cpu_begin);
  }
  std::string day(const std::string& file) {
    Lines lines(file);
    for (Line line; lines.next(line);) person(line["person"]);
    return bulk(file);
  }

  // ---- S2 and S3

  std::string set(const std::string& id, const std::string& field, const std::string& value) {
    const RecordId record = person(id);
    const auto begin = now_ns();
    must(replica_->transact(space_, [&](Write& write) -> Status { return write.set(record, field, value), Status(); }));
    return std::to_string(begin) + " " + std::to_string(now_ns());
  }
  std::string arm(const std::string& id, const std::string& field, const std::string& value) {
    const RecordId record = person(id);
    seen_ns_ = 0;
    subscription_ = replica_->observe(space_, record, [this, record, field, value] {
      const auto view = replica_->get(space_, record);
      if (!view || view->text(field) != value) return;
      const auto now = now_ns();
      const std::lock_guard guard(mutex_);
      seen_ns_ = now;
      came_.notify_all();
    });
    return "";
  }
  std::string seen() {
    std::unique_lock guard(mutex_);
    if (!came_.wait_for(guard, std::chrono::seconds(60), [this] { return seen_ns_ != 0; })) throw Failed{"never seen"};
    return std::to_string(seen_ns_);
  }

  std::vector<std::string> first_persons(const std::string& file, std::size_t count) {
    std::vector<std::string> out;
    Lines lines(file);
    for (Line line; out.size() < count && lines.next(line);)
      if (line.person()) out.push_back(line["id"]);
    return out;
  }
  std::string s3(bool a, const std::string& file) {
    const auto ids = first_persons(file, 2000);
    const std::string who = a ? "A" : "B";
    std::vector<RecordId> records;
    for (const auto& id : ids) records.push_back(person(id));
    const std::size_t n = records.size() / 2;
    const auto begin = now_ns();
    must(replica_->transact(space_, [&](Write& write) -> Status {
      for (std::size_t i = 0; i < 2 * n; ++i) {
        if (i != 0) write.next_transaction();
        if (i < n)
          write.set(records[i], "phone", who + "-same-" + std::to_string(i));
        else
          write.set(records[i], a ? "job" : "marital", who + "-diff-" + std::to_string(i));
      }
      return {};
    }));
    return seconds(now_ns() - begin) + " " + std::to_string(n);
  }
  /// Shown: same A, same B, different A, different B; standing: same A, same B; in the inbox.
  std::string state(const std::string& file, std::size_t n) {
    const auto ids = first_persons(file, 2 * n);
    std::array<std::size_t, 6> counts{};
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto view = must(replica_->get(space_, person(ids[i])));
      const std::string number = std::to_string(i);
      if (i < n) {
        counts[0] += view.text("phone") == "A-same-" + number;
        counts[1] += view.text("phone") == "B-same-" + number;
        for (const auto& written : view.standing("phone")) {
          counts[4] += text_of(written.value) == "A-same-" + number;
          counts[5] += text_of(written.value) == "B-same-" + number;
        }
      } else {
        counts[2] += view.text("job") == "A-diff-" + number;
        counts[3] += view.text("marital") == "B-diff-" + number;
      }
    }
    std::string out;
    for (const auto count : counts) out += std::to_string(count) + " ";
    return out + std::to_string(must(replica_->conflicts(space_)).size());
  }

  /// Every so many-th line of the file, rebuilt from the record: how many are equal, of how many.
  std::string check(const std::string& file, std::size_t every) {
    std::map<std::string, std::string> visit_json;
    Lines lines(file);
    std::size_t n = 0, equal = 0, looked = 0;
    for (Line line; lines.next(line);) {
      if (n++ % every != 0) continue;
      ++looked;
      const bool is_person = line.person();
      const RecordId owner = person(line[is_person ? "id" : "person"]);
      std::optional<RecordView> view;
      if (is_person)
        view = must(replica_->get(space_, owner));
      else
        for (auto& one : must(replica_->query(space_, {.kind = "v", .where = {{"person", QueryCondition::Op::equal, owner}}})))
          if (one.text("id") == line["id"]) view = one;
      if (!view) continue;
      equal += std::all_of(line.items.begin(), line.items.end(), [&](const Item& item) {
        if (item.name == "kind") return view->kind() && view->kind()->name == (is_person ? "p" : "v");
        const Value value = view->value(item.name);
        if (const auto* reference = std::get_if<RecordId>(&value)) return must(replica_->get(space_, *reference)).text("id") == item.text;
        return text_of(value) == item.text;
      });
    }
    return std::to_string(equal) + " " + std::to_string(looked);
  }

  std::optional<Replica> replica_;
  std::optional<SyncService> service_;
  SpaceId space_;
  std::unordered_map<std::string, RecordId> persons_;
  Subscription subscription_;
  std::mutex mutex_;
  std::condition_variable came_;
  long long seen_ns_ = 0;
};

}  // namespace

int run_agent() {
  Agent agent;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream in(line);
    Words words;
    for (std::string word; in >> word;) words.push_back(word);
    if (words.empty()) continue;
    std::string answer;
    try {
      answer = "ok " + agent.act(words);
    } catch (const Failed& failed) { answer = "err " + failed.why; } catch (const std::exception& error) {
      answer = std::string("err ") + error.what();
    }
    std::cout << answer << std::endl;
  }
  return 0;
}

int run_cold(const std::vector<std::string>& arguments) {
  ReplicaOptions options;
  options.directory = arguments.at(0);
  options.schema = village_schema();
  const auto key = Hash::parse(arguments.at(1));
  auto replica = Replica::open_with_key(options, SymmetricKey(std::span<const std::uint8_t, 32>(key->data)));
  if (!replica) return std::fprintf(stderr, "%s\n", replica.error().message().c_str()), 1;
  const SpaceId space = (*replica->spaces()).front().id;
  const auto persons = replica->query(space, {.kind = "p", .where = {{"id", QueryCondition::Op::equal, arguments.at(2)}}});
  if (!persons || persons->empty()) return 1;
  const auto visits = replica->query(space, {.kind = "v", .where = {{"person", QueryCondition::Op::equal, persons->front().id()}}});
  std::printf("{\"ok\":true,\"name\":\"%s\",\"visits\":%zu}\n", persons->front().text("name").c_str(), visits ? visits->size() : 0);
  std::fflush(stdout);
  return 0;
}

}  // namespace doorstep::bench
