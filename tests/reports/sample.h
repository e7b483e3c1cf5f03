#pragma once

#include "reports/report.h"

namespace understudy::reports {

// A report with one scenario of each outcome, with text that tries to break every form.
inline Report Sample() {
  Report report;
  report.tool = {{"name", "understudy"}, {"version", "0.1.0"}, {"commit", "abc1234"}};
  report.started_at = "2026-11-21T01:02:03.456Z";
  report.duration_ms = 12345;
  report.host = {{"os", "Debian 12"}, {"cpus", 2}, {"memory_bytes", 8589934592}};

  ScenarioReport failed;
  failed.name = "orders-total";
  failed.file = "/scenarios/orders <total> & \"more\".json";
  failed.file_sha256 = std::string(64, 'a');
  failed.command = "understudy run orders.json --seed 7";
  failed.summary = "rows, stalls failed";
  failed.seed = 7;
  failed.tags = {"quick"};
  failed.verdict = failed.observed = Outcome::kFail;
  failed.duration_ms = 4200;
  failed.databases = {{{"name", "main"},
                       {"engine", "postgres"},
                       {"version", "15.18"},
                       {"provision", "local"},
                       {"rows", 1000},
                       {"bytes", 8192}}};
  failed.steps = {{{"name", "migrate-1"},
                   {"started_ms", 10.5},
                   {"duration_ms", 100},
                   {"outcome", "done"},
                   {"detail", ""}}};
  failed.phases = {
      {{"migration", "main"}, {"phase", "cutover"}, {"started_ms", 20}, {"duration_ms", 80.25}}};
  Verdict rows{"rows", Outcome::kFail, "public.orders: 2 rows lost", {}, Json::array(), {}};
  rows.details = {"public.orders: 2 rows lost", "a line with <b>markup</b>, a | and \x1b[31mred"};
  rows.examples = {{{"table", "public.orders"},
                    {"kind", "missing"},
                    {"key", {{"id", "17"}}},
                    {"left",
                     {{"note", {{"type", "text"}, {"text", "secret <&> ]]> \x01"}}},
                      {"image", {{"type", "bytea"}, {"text", "00ff"}}},
                      {"gone", nullptr}}},
                    {"right", nullptr}}};
  failed.checks.push_back(rows);
  failed.checks.push_back({"stalls", Outcome::kFail, "update of w1 took 1532 ms", {}, {}, {}});
  failed.checks.back().examples = Json::array();
  failed.checks.push_back({"locks", Outcome::kUnknown, "no lock was seen", {}, Json::array(), {}});
  failed.checks.push_back(
      {"triggers", Outcome::kUnknown, "switched off: no need", {}, Json::array(), "no need"});
  failed.checks.push_back({"catalog", Outcome::kPass, "3 objects judged", {}, Json::array(), {}});
  failed.measurements = {
      {"longest_stall_ms", 1532.25},
      {"stalls",
       {{{"started_ms", 20},
         {"duration_ms", 1532.25},
         {"client", "w1"},
         {"operation", "update"},
         {"phase", "cutover"},
         {"blamed", "ALTER TABLE orders ADD COLUMN x int"}}}},
      {"latency",
       {{"cutover",
         {{"operations", 10}, {"p50_ms", 1}, {"p95_ms", 2}, {"p99_ms", 3}, {"max_ms", 1532.25}}}}},
      {"locks",
       {{{"object", "public.orders"},
         {"mode", "AccessExclusiveLock"},
         {"held_ms", 1500},
         {"waited_ms", 0},
         {"statement", nullptr},
         {"seen", "point"}}}},
      {"sample_period_ms", 50},
      {"writes",
       {{"attempted", 10},
        {"acknowledged", 7},
        {"refused", 1},
        {"unknown", 1},
        {"rolled_back", 1}}},
      {"rows_compared", 1000},
      {"bytes_compared", 65536},
      {"wal_bytes", nullptr}};
  failed.not_checked = {{{"what", "check:duration"}, {"why", "no budget"}}};
  failed.faults = {{{"kind", "fail"}, {"at", "cutover.locked"}, {"struck", 1}}};
  failed.artifacts = {{"evidence", "orders-total/evidence.jsonl"}};

  ScenarioReport expected = failed;  // the same, and meant to be
  expected.name = "orders-total-noticed";
  expected.verdict = Outcome::kPass;
  expected.summary = "as expected: rows, stalls failed";
  expected.expected = {{"verdict", "fail"}, {"checks", {"rows", "stalls"}}};
  expected.checks.erase(expected.checks.begin() + 2, expected.checks.begin() + 4);
  expected.repetitions = {{"runs", 3}, {"pass", 3}, {"fail", 0}, {"unknown", 0}};

  ScenarioReport unknown;
  unknown.name = "no-engine";
  unknown.verdict = unknown.observed = Outcome::kUnknown;
  unknown.summary = "no container engine";

  report.scenarios = {failed, expected, unknown};
  return report;
}

}  // namespace understudy::reports
