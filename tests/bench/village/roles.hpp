// The program's other selves: each replica, each cold start and each plain SQLite measurement is a process of its own.
#pragma once

#include <string>
#include <vector>

namespace doorstep::bench {

/// CLOCK_MONOTONIC in nanoseconds: one clock for all processes.
long long now_ns();
/// CPU time of this process so far: what a busy machine does not change.
long long cpu_ns();

/// Holds one replica and does what standard input says, a line at a time; answers "ok ..." or "err ...". agent.cpp lists the words.
int run_agent();
/// DIRECTORY KEY PERSON: opens, prints one person and the number of the visits. R1.
int run_cold(const std::vector<std::string>& arguments);
/// DIRECTORY KEY FILE DATABASE: point reads and scans, beside SQLite holding the lines as rows.
int run_at_rest(const std::vector<std::string>& arguments);
/// w1|w2|rows DATABASE FILE: seconds with plain SQLite.
int run_plain(const std::vector<std::string>& arguments);

}  // namespace doorstep::bench
