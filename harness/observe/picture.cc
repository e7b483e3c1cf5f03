#include "harness/observe/picture.h"

#include "engine/db/identifier.h"

namespace understudy::harness {
namespace {

using db::Row;

// One statement, so that sessions and locks belong together as far as the server can tell. Who
// blocks whom is asked only of those that wait: it stops the lock table for a moment.
// A relation that is not visible to us is new in a transaction: nobody can wait for it. Indexes
// are left out while granted: the table's lock tells what a statement does to others.
constexpr std::string_view kPicture = R"(
WITH sessions AS MATERIALIZED (
  SELECT a.pid, a.application_name, a.backend_type, left(a.query, 500) AS query,
         a.wait_event_type, a.query_start,
         CASE WHEN a.wait_event_type = 'Lock' THEN pg_catalog.pg_blocking_pids(a.pid) END AS by
    FROM pg_catalog.pg_stat_activity AS a
   WHERE a.pid <> pg_catalog.pg_backend_pid()
     AND (a.datname = current_database() OR a.datname IS NULL)),
involved AS MATERIALIZED (
  SELECT pid FROM sessions WHERE cardinality(by) > 0
  UNION
  SELECT unnest(by) FROM sessions WHERE by IS NOT NULL),
locks AS MATERIALIZED (
  SELECT l.pid, n.nspname, c.relname, l.mode, l.granted,
         CASE WHEN NOT l.granted
              THEN extract(epoch FROM clock_timestamp()
                   - coalesce((to_jsonb(l) ->> 'waitstart')::timestamptz, s.query_start)) * 1000
              END AS waited_ms
    FROM pg_catalog.pg_locks AS l
    JOIN sessions AS s ON s.pid = l.pid
    JOIN pg_catalog.pg_class AS c ON c.oid = l.relation
    JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
   WHERE l.locktype = 'relation' AND l.relation >= 16384
     AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
     AND (c.relkind NOT IN ('i', 'I', 't') OR NOT l.granted)
     AND ((s.backend_type = 'client backend'
           AND (s.application_name NOT LIKE 'understudy%'
                OR s.application_name LIKE 'understudy-engine%'))
          OR l.pid IN (SELECT pid FROM involved)))
SELECT 'lock' AS what, pid, nspname, relname, mode, granted, waited_ms, NULL AS by
  FROM locks
UNION ALL
SELECT 'session', s.pid, s.application_name, s.query, s.backend_type, cardinality(s.by) > 0,
       CASE WHEN cardinality(s.by) > 0
            THEN extract(epoch FROM clock_timestamp() - s.query_start) * 1000 END,
       array_to_string(s.by, ',')
  FROM sessions AS s
 WHERE s.pid IN (SELECT pid FROM involved UNION ALL SELECT pid FROM locks))";

constexpr std::string_view kActivity = R"(
SELECT count(*),
       count(*) FILTER (WHERE state = 'active'),
       count(*) FILTER (WHERE wait_event_type = 'Lock'),
       coalesce(round(max(extract(epoch FROM clock_timestamp() - xact_start)) * 1000), 0)::bigint
  FROM pg_catalog.pg_stat_activity
 WHERE datname = current_database() AND backend_type = 'client backend'
   AND application_name NOT LIKE 'understudy-observer%')";

constexpr std::string_view kSize = R"(
SELECT lsn, lsn - '0/0'::pg_lsn, pg_database_size(current_database())
  FROM (SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                    ELSE pg_current_wal_insert_lsn() END AS lsn) AS w)";

double Milliseconds(const db::Value& value) {
  return value.is_null() ? 0 : std::max(0.0, value.AsReal());
}

double Rounded(double ms) { return static_cast<double>(static_cast<std::int64_t>(ms * 10)) / 10; }

}  // namespace

Picture ReadPicture(db::Session& session,
                    const std::function<bool(int, const std::string&)>& is_engine) {
  Picture picture;
  for (const Row& row : session.QueryPrepared(kPicture, {}).rows) {
    const int pid = static_cast<int>(row[1].AsInteger());
    if (row[0].text == "lock") {
      picture.rows.push_back({pid, "", db::TableName{row[2].text, row[3].text}.Display(),
                              row[4].text, row[5].AsBool(), Milliseconds(row[6])});
      continue;
    }
    const std::string& application = row[2].text;
    std::string who = "other";
    if (row[4].text == "client backend") {
      if (is_engine(pid, application)) {
        who = "engine";
      } else if (application.starts_with("understudy-client")) {
        who = "clients";
      }
    }
    picture.hidden = picture.hidden || row[3].text == "<insufficient privilege>";
    picture.processes[pid] = {who, application, row[3].text};
    if (row[7].is_null() || row[7].text.empty()) continue;
    WaitRow wait{pid, std::move(who), {}, Milliseconds(row[6])};
    for (std::size_t at = 0; at < row[7].text.size();) {
      const auto end = std::min(row[7].text.find(',', at), row[7].text.size());
      const int blocker = std::stoi(row[7].text.substr(at, end - at));
      // A parallel worker and its leader can stand in for each other: each pid once.
      if (std::find(wait.by.begin(), wait.by.end(), blocker) == wait.by.end()) {
        wait.by.push_back(blocker);
      }
      at = end + 1;
    }
    picture.blocking.push_back(std::move(wait));
  }
  for (LockRow& lock : picture.rows) lock.who = picture.processes[lock.pid].who;
  for (WaitRow& wait : picture.blocking) {  // how long this lock is waited for, where it is told
    for (const LockRow& lock : picture.rows) {
      if (lock.pid == wait.pid && !lock.granted) wait.waited_ms = lock.waited_ms;
    }
  }
  const auto order = [](const auto& a, const auto& b) { return a.pid < b.pid; };
  std::stable_sort(picture.rows.begin(), picture.rows.end(),
                   [](const LockRow& a, const LockRow& b) {
                     return std::tie(a.pid, a.object, a.mode) < std::tie(b.pid, b.object, b.mode);
                   });
  std::sort(picture.blocking.begin(), picture.blocking.end(), order);
  return picture;
}

Json Picture::ToJson() const {
  const auto process = [&](int pid) {
    const auto it = processes.find(pid);
    return it == processes.end() ? Process{"other", "", ""} : it->second;
  };
  Json json = {{"rows", Json::array()}, {"blocking", Json::array()}};
  for (const LockRow& lock : rows) {
    const Process holder = process(lock.pid);
    json["rows"].push_back({{"pid", lock.pid},
                            {"who", lock.who},
                            {"object", lock.object},
                            {"mode", lock.mode},
                            {"granted", lock.granted},
                            {"waited_ms", Rounded(lock.waited_ms)},
                            {"statement", holder.statement},
                            {"application", holder.application}});
  }
  for (const WaitRow& wait : blocking) {
    const Process blocker = process(wait.by.front());
    json["blocking"].push_back({{"pid", wait.pid},
                                {"who", wait.who},
                                {"by", wait.by},
                                {"statement", process(wait.pid).statement},
                                {"blocker", blocker.who},
                                {"blocker_statement", blocker.statement},
                                {"waited_ms", Rounded(wait.waited_ms)}});
  }
  return json;
}

std::string Picture::Signature() const {
  std::string all;
  for (const LockRow& lock : rows) {
    all += std::to_string(lock.pid) + "|" + lock.object + "|" + lock.mode +
           (lock.granted ? "|1\n" : "|0\n");
  }
  for (const WaitRow& wait : blocking) all += "w" + std::to_string(wait.pid) + "\n";
  return all;
}

Json ReadActivity(db::Session& session) {
  const Row row = session.QueryPrepared(kActivity, {}).rows.at(0);
  return {{"sessions", row[0].AsInteger()},
          {"active", row[1].AsInteger()},
          {"waiting", row[2].AsInteger()},
          {"oldest_xact_ms", row[3].AsInteger()}};
}

Size ReadSize(db::Session& session) {
  const Row row = session.QueryPrepared(kSize, {}).rows.at(0);
  return {row[0].text, row[1].AsInteger(), row[2].AsInteger()};
}

}  // namespace understudy::harness
