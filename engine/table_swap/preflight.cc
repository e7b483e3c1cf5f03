#include "engine/table_swap/preflight.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <utility>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "engine/db/pooler.h"

namespace understudy::table_swap {
namespace {

constexpr const char* kLongTransaction = "5 seconds";
constexpr double kLockTableFull = 0.9;
constexpr double kLockTableTight = 0.5;
constexpr std::int64_t kDiskTold = std::int64_t{1} << 30;
constexpr std::chrono::milliseconds kVacuumGoes{1000};  // from the server's word to its end
constexpr std::size_t kNamesShown = 200;
constexpr const char* kGrantStep = "the least that its role needs: ";
constexpr const char* kInsteadStep = "instead of a superuser this is enough: ";

// Beside one of each job. Of the target: the migration's lock, the phase's own session, the watch
// of the log, the copy's or pg_dump's, the pacer's, one for a moment. Of the source: the one that
// holds the snapshot, one for a moment.
constexpr std::int64_t kTargetSessions = 6;
constexpr std::int64_t kSourceSessions = 2;

std::string Lines(const db::Result& result) {
  std::string all;
  for (const db::Row& row : result.rows) all += (all.empty() ? "" : ", ") + row[0].text;
  return all;
}

}  // namespace

void CheckReplication(db::Session& session, const std::vector<Movable>& old_objects,
                      const Settings& settings, core::Plan& plan) {
  const db::Params tables = {TableOids(old_objects)};
  const auto tell = [&](const std::string& object, const std::string& what) {
    if (settings.resync_publications) {
      plan.warnings.push_back(object + ": " + what);
    } else {
      plan.refused.push_back(
          {object, what + "; say \"publications\": \"resync\" when the subscribers are to be "
                          "synchronised anew afterwards"});
    }
  };
  for (const db::Row& row :
       session
           .Query("SELECT p.pubname, string_agg(r.prrelid::regclass::text, ', ' ORDER BY 1) "
                  "FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid "
                  "WHERE r.prrelid = ANY ($1::oid[]) GROUP BY p.pubname ORDER BY 1",
                  tables)
           .rows) {
    tell("publication " + db::DisplayIdentifier(row[0].text),
         "it publishes " + row[1].text +
             ": the new tables take the old ones' place in it, their rows are not sent");
  }
  for (const db::Row& row :
       session.Query("SELECT pubname FROM pg_publication WHERE puballtables ORDER BY 1").rows) {
    tell("publication " + db::DisplayIdentifier(row[0].text),
         "it is FOR ALL TABLES: subscribers would be sent the shadow's rows as well");
  }
  if (session.Server().major() >= 15) {
    for (const db::Row& row :
         session
             .Query("SELECT DISTINCT p.pubname FROM pg_publication_namespace x "
                    "JOIN pg_publication p ON p.oid = x.pnpubid "
                    "JOIN pg_class c ON c.relnamespace = x.pnnspid "
                    "WHERE c.oid = ANY ($1::oid[]) ORDER BY 1",
                    tables)
             .rows) {
      tell("publication " + db::DisplayIdentifier(row[0].text),
           "it is FOR TABLES IN SCHEMA: the new tables join it, their rows are not sent");
    }
  }
  for (const db::Row& row : session
                                .Query("SELECT slot_name FROM pg_replication_slots WHERE slot_type "
                                       "= 'logical' AND database = current_database() ORDER BY 1")
                                .rows) {
    tell("replication slot " + db::DisplayIdentifier(row[0].text),
         "whoever reads it is told of the shadow's rows, and at the cutover of other tables");
  }
  for (const db::Row& row : session
                                .Query("SELECT DISTINCT srrelid::regclass::text FROM "
                                       "pg_subscription_rel WHERE srrelid = ANY ($1::oid[])",
                                       tables)
                                .rows) {
    tell("table " + row[0].text, "a subscription of this database writes to it");
  }
}

void CheckPrivileges(db::Session& session, const std::vector<Movable>& old_objects,
                     const Settings& settings, core::Plan& plan) {
  const db::Row role = session
                           .Query(
                               "SELECT quote_ident(current_user), rolsuper, "
                               "has_database_privilege(current_database(), 'CREATE'), "
                               "quote_ident(current_database()), rolbypassrls, "
                               "pg_has_role('pg_monitor', 'MEMBER') FROM pg_roles "
                               "WHERE rolname = current_user")
                           .rows.at(0);
  const bool superuser = role[1].AsBool();
  const std::string name = superuser ? "ANOTHER_ROLE" : role[0].text;
  const auto grant = [&](const std::string& sql) {
    core::PlanStep step;
    step.phase = "plan";
    step.what = std::string(superuser ? kInsteadStep : kGrantStep) + sql;
    plan.steps.push_back(std::move(step));
  };
  const std::string to = " TO " + name;
  const std::string createdb = "ALTER ROLE " + name + " CREATEDB";
  const std::string create_here = "GRANT CREATE ON DATABASE " + role[3].text + to;
  const std::string monitor = "GRANT pg_monitor" + to;
  core::PlanStep scratch;
  scratch.phase = "plan";
  scratch.what =
      "only where this machine has no server programs of the target's major: " + createdb;
  plan.steps.push_back(std::move(scratch));
  grant(create_here);
  for (const std::string& schema : settings.schemas) {
    grant("GRANT USAGE, CREATE ON SCHEMA " + db::QuoteIdentifier(schema) + to);
  }
  struct NotOwned {
    std::string tables;
    bool usable;  // with a membership that is there
    std::string sql;
  };
  std::vector<NotOwned> not_owned;
  for (const db::Row& row :
       session
           .Query("SELECT quote_ident(r.rolname), r.rolsuper, pg_has_role(r.oid, 'USAGE'), "
                  "string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid), "
                  "string_agg('ALTER TABLE ' || c.oid::regclass || ' OWNER TO ' || $2, '; ' "
                  "ORDER BY c.oid) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner "
                  "WHERE c.oid = ANY ($1::oid[]) AND r.rolname <> current_user "
                  "GROUP BY r.oid, r.rolname, r.rolsuper ORDER BY 1",
                  {TableOids(old_objects), db::Value::Text(name)})
           .rows) {
    // To be a member of a superuser would be to be one.
    not_owned.push_back({row[3].text, row[2].AsBool(),
                         row[1].AsBool() ? row[4].text : "GRANT " + row[0].text + to});
    grant(not_owned.back().sql);
  }
  grant(monitor);
  if (superuser) return;
  const auto refuse = [&](const std::string& what, const std::string& sql) {
    plan.refused.push_back({"role " + name, what + ": " + sql});
  };
  if (!role[2].AsBool()) refuse("it may not make schemas here", create_here);
  for (const std::string& schema : settings.schemas) {
    const auto may = session.MaybeScalar(
        "SELECT has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE') "
        "FROM pg_namespace n WHERE n.nspname = $1",
        {db::Value::Text(schema)});
    if (may && !may->AsBool()) {
      refuse("it may not move tables into the schema " + schema,
             "GRANT USAGE, CREATE ON SCHEMA " + db::QuoteIdentifier(schema) + to);
    }
  }
  for (const NotOwned& one : not_owned) {
    if (!one.usable) refuse("it does not own " + one.tables, one.sql);
  }
  if (!role[4].AsBool()) {
    for (const db::Row& row : session
                                  .Query("SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid "
                                         "= ANY ($1::oid[]) AND c.relrowsecurity "
                                         "AND c.relforcerowsecurity ORDER BY 1",
                                         {TableOids(old_objects)})
                                  .rows) {
      refuse("row security is forced on " + row[0].text + ", and rows could be hidden from it",
             "ALTER ROLE " + name + " BYPASSRLS");
    }
  }
  if (!role[5].AsBool()) {
    plan.warnings.push_back(
        "the role " + name +
        " does not see other sessions' snapshots, so that sessions which would see empty tables "
        "behind the cutover go unnoticed: " +
        monitor);
  }
}

void CheckReading(db::Session& session, const std::string& side, core::Plan& plan) {
  const db::Row role =
      session
          .Query(
              "SELECT quote_ident(current_user), rolsuper FROM pg_roles WHERE rolname = "
              "current_user")
          .rows.at(0);
  const std::string name = role[1].AsBool() ? "ANOTHER_ROLE" : role[0].text;
  // pg_dump reads the schema of the whole database, and locks every table in it for that. Of a
  // target it dumps no data, and then it reads no sequence.
  const db::Result schemas = session.Query(R"(
SELECT quote_ident(n.nspname), has_schema_privilege(n.oid, 'USAGE'), m.missing
FROM pg_namespace n CROSS JOIN LATERAL (
  SELECT string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid) FILTER (WHERE (c.relkind <> 'S' OR $1::boolean) AND NOT (
           has_schema_privilege(n.oid, 'USAGE')
           AND CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
               ELSE has_table_privilege(c.oid, 'SELECT') END)) AS missing,
         coalesce(bool_or(NOT pg_has_role(c.relowner, 'USAGE') OR s.rolsuper), false) AS needed
  FROM pg_class c CROSS JOIN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) s
  WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'S')
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = c.oid AND d.deptype = 'e')) m
WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
  AND n.nspname NOT LIKE 'understudy%' AND m.needed ORDER BY 1)",
                                           {db::Value::Text(side == "target" ? "f" : "t")});
  const std::string before = std::string(role[1].AsBool() ? kInsteadStep : kGrantStep);
  for (const db::Row& row : schemas.rows) {
    const std::string usage = "GRANT USAGE ON SCHEMA " + row[0].text + " TO " + name;
    std::string reading;
    for (const char* kind : {"TABLES", "SEQUENCES"}) {
      reading += std::string(reading.empty() ? "" : "; ") + "GRANT SELECT ON ALL " + kind +
                 " IN SCHEMA " + row[0].text + " TO " + name;
    }
    core::PlanStep step;
    step.phase = "plan";
    step.what = (side == "target" ? "" : "in the " + side + ", ") + before + usage + "; " + reading;
    plan.steps.push_back(std::move(step));
    if (row[2].is_null()) continue;
    std::string names = row[2].text;
    if (names.size() > kNamesShown) names = names.substr(0, names.rfind(", ", kNamesShown)) + ", …";
    plan.refused.push_back({"role " + name, "it may not read " + names + " in the " + side + ": " +
                                                (row[1].AsBool() ? "" : usage + "; ") + reading});
  }
}

namespace {

struct Sessions {
  std::int64_t on_server = 0;
  std::int64_t of_role = 0;
  std::int64_t of_database = 0;
};

struct Place {
  std::string server;
  std::string role;
  std::string database;
};

Place PlaceOf(db::Session& session) {
  const db::Row row = session
                          .Query(
                              "SELECT concat_ws(' ', pg_postmaster_start_time(), "
                              "current_setting('port')), current_user, current_database()")
                          .rows.at(0);
  return {row[0].text, row[1].text, row[2].text};
}

void CheckRoom(db::Session& session, const std::string& side, const Sessions& needed, int jobs,
               core::Plan& plan) {
  // What a plan has open itself is free again in a moment.
  const db::Row row = session
                          .Query(R"(
WITH used AS MATERIALIZED (
  SELECT a.usesysid, a.datid FROM pg_stat_activity a
  WHERE a.usesysid IS NOT NULL AND a.datid IS NOT NULL
    AND coalesce(a.backend_type, 'client backend') = 'client backend'
    AND NOT (a.usename = current_user AND a.application_name LIKE 'understudy-engine%')),
me AS (SELECT oid, rolsuper, rolconnlimit FROM pg_roles WHERE rolname = current_user),
here AS (SELECT oid, datconnlimit FROM pg_database WHERE datname = current_database())
SELECT current_setting('max_connections')::bigint,
  current_setting('superuser_reserved_connections')::bigint
    + coalesce(current_setting('reserved_connections', true)::bigint, 0),
  (SELECT count(*) FROM used),
  CASE WHEN rolsuper THEN -1 ELSE rolconnlimit END,
  (SELECT count(*) FROM used WHERE usesysid = me.oid),
  CASE WHEN rolsuper THEN -1 ELSE datconnlimit END,
  (SELECT count(*) FROM used WHERE datid = here.oid),
  quote_ident(current_user), quote_ident(current_database())
FROM me, here)")
                          .rows.at(0);
  const auto numbers = [&](std::int64_t count) {
    return "a prepare opens up to " + std::to_string(count) +
           " connections there (limits.jobs = " + std::to_string(jobs) + ")";
  };
  const std::int64_t free = row[0].AsInteger() - row[1].AsInteger() - row[2].AsInteger();
  const std::string server = numbers(needed.on_server) + ", and " +
                             std::to_string(std::max<std::int64_t>(0, free)) +
                             " are free (max_connections = " + row[0].text + ", " + row[1].text +
                             " of them kept back, " + row[2].text + " in use)";
  const std::string object = "the connections of the " + side + "'s server";
  if (needed.on_server > free) {
    plan.refused.push_back({object, server +
                                        ": end sessions that are not needed, lower limits.jobs, or "
                                        "raise max_connections and restart the server"});
  } else if (2 * needed.on_server > free) {
    plan.warnings.push_back(object + ": " + server + "; clients that come meanwhile may find none");
  }
  const auto limited = [&](const std::string& what, std::int64_t limit, std::int64_t used,
                           std::int64_t count, const std::string& alter) {
    if (limit < 0 || used + count <= limit) return;
    plan.refused.push_back({what, numbers(count) + ", and its CONNECTION LIMIT of " +
                                      std::to_string(limit) + " leaves " +
                                      std::to_string(std::max<std::int64_t>(0, limit - used)) +
                                      ": lower limits.jobs, or: " + alter + " CONNECTION LIMIT " +
                                      std::to_string(used + count)});
  };
  if (needed.of_role > 0) {
    limited("role " + row[7].text, row[3].AsInteger(), row[4].AsInteger(), needed.of_role,
            "ALTER ROLE " + row[7].text);
  }
  limited("database " + row[8].text, row[5].AsInteger(), row[6].AsInteger(), needed.of_database,
          "ALTER DATABASE " + row[8].text);
}

}  // namespace

void CheckConnections(db::Session& target, db::Session* source, int jobs, core::Plan& plan) {
  const std::int64_t of_target = jobs + kTargetSessions;
  const std::int64_t of_source = jobs + kSourceSessions;
  Sessions at_target{of_target, of_target, of_target};
  if (source != nullptr) {
    Sessions at_source{of_source, of_source, of_source};
    const Place here = PlaceOf(target);
    const Place there = PlaceOf(*source);
    if (here.server == there.server) {
      at_target.on_server += std::exchange(at_source.on_server, 0);
      if (here.role == there.role) at_target.of_role += std::exchange(at_source.of_role, 0);
      if (here.database == there.database) at_target.of_database += at_source.of_database;
    }
    CheckRoom(*source, "source", at_source, jobs, plan);
  }
  CheckRoom(target, "target", at_target, jobs, plan);
}

void CheckStandby(db::Session& target, core::Plan& plan) {
  if (target.Scalar("SELECT pg_is_in_recovery()").AsBool()) {
    plan.refused.push_back({"the target",
                            "this server is a standby, which takes no writes: name its primary as "
                            "the target"});
  }
}

void CheckPooler(const db::Endpoint& endpoint, const std::string& side, core::Plan& plan) {
  switch (db::FindPooler(endpoint)) {
    case db::Pooler::kNone:
      return;
    case db::Pooler::kOwnSession:
      try {  // as pg_dump and pg_restore will
        db::Connect(endpoint.WithSetting("options", "-c default_transaction_read_only=on"));
      } catch (const Error& error) {
        plan.refused.push_back(
            {"the connection to the " + side,
             "the pooler in between does not take what pg_dump must say (" + error.message() +
                 "): set ignore_startup_parameters = options in pgbouncer.ini, or connect to the "
                 "server itself"});
        return;
      }
      plan.warnings.push_back("the connection to the " + side +
                              " goes through a pooler: it must stay in session mode and leave room "
                              "for limits.jobs + " +
                              std::to_string(kTargetSessions) +
                              " connections; the server itself is better");
      return;
    case db::Pooler::kSharedSession:
      plan.refused.push_back(
          {"the connection to the " + side,
           endpoint.Redacted() +
               " goes through a pooler in transaction mode (PgBouncer), where session locks and "
               "settings do not hold: connect to the server itself, or by a pool in session mode"});
  }
}

void CheckLockTable(db::Session& session, const std::vector<Movable>& old_objects,
                    core::Plan& plan) {
  // The exchange locks relations of both sides; dropping a backup locks, of one side, everything
  // that goes with a table: types, constraints, defaults, the triggers of foreign keys, TOAST.
  const db::Row row = session
                          .Query(
                              R"(
WITH tables AS MATERIALIZED (SELECT c.oid, c.reltoastrelid FROM pg_class c WHERE c.oid = ANY ($1::oid[])),
relations AS MATERIALIZED (
  SELECT oid FROM tables
  UNION SELECT indexrelid FROM pg_index WHERE indrelid IN (SELECT oid FROM tables)
  UNION SELECT s.oid FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass
      AND refobjid IN (SELECT oid FROM tables) AND deptype IN ('a', 'i'))
SELECT current_setting('max_locks_per_transaction')::bigint,
  current_setting('max_connections')::bigint + current_setting('max_prepared_transactions')::bigint
    + current_setting('max_worker_processes')::bigint + current_setting('max_wal_senders')::bigint
    + coalesce(current_setting('autovacuum_worker_slots', true),
               current_setting('autovacuum_max_workers'))::bigint + 1,
  (SELECT count(*) FROM pg_locks WHERE NOT fastpath AND locktype NOT LIKE '%transactionid'
     AND locktype <> 'virtualxid' AND pid <> pg_backend_pid()),
  2 * (SELECT count(*) FROM relations),
  (SELECT count(*) FROM relations) + 2 * (SELECT count(*) FROM tables WHERE reltoastrelid <> 0)
    + 2 * (SELECT count(*) FROM tables)
    + (SELECT count(*) FROM pg_constraint WHERE conrelid IN (SELECT oid FROM tables))
    + (SELECT count(*) FROM pg_attrdef WHERE adrelid IN (SELECT oid FROM tables))
    + (SELECT count(*) FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM tables))
    + (SELECT count(*) FROM pg_rewrite WHERE ev_class IN (SELECT oid FROM tables))
    + (SELECT count(*) FROM pg_policy WHERE polrelid IN (SELECT oid FROM tables))
    + (SELECT count(*) FROM pg_statistic_ext WHERE stxrelid IN (SELECT oid FROM tables)))",
                              {TableOids(old_objects)})
                          .rows.at(0);
  const std::int64_t each = row[0].AsInteger();
  const std::int64_t slots = row[1].AsInteger();
  const std::int64_t used = row[2].AsInteger();
  const std::int64_t exchange = row[3].AsInteger();
  const std::int64_t removal = row[4].AsInteger();
  const std::int64_t needed = std::max(exchange, removal) + used;
  const auto share = [&](double part) { return part * static_cast<double>(each * slots); };
  const std::string numbers = "the exchange takes about " + std::to_string(exchange) +
                              " locks in one transaction and removing the backup " +
                              std::to_string(removal) + ", the server's lock table holds about " +
                              std::to_string(each * slots) +
                              " (max_locks_per_transaction = " + row[0].text + "), " + row[2].text +
                              " are taken now; when it is full, clients fail";
  const auto enough = static_cast<std::int64_t>(
      std::ceil(static_cast<double>(needed) / kLockTableFull / static_cast<double>(slots)));
  if (static_cast<double>(needed) > share(kLockTableFull)) {
    plan.refused.push_back(
        {"the lock table", numbers + ": set max_locks_per_transaction = " + std::to_string(enough) +
                               " or more (on standbys first) and restart the server"});
  } else if (static_cast<double>(needed) > share(kLockTableTight)) {
    plan.warnings.push_back(numbers);
  }
}

SpaceNeeds NeedsOf(db::Session& session, const std::vector<std::uint32_t>& tables) {
  SpaceNeeds needs;
  for (const db::Row& row : session
                                .Query(R"(
SELECT coalesce(t.spcname, ''), sum(size)::bigint
FROM (SELECT reltablespace AS place, pg_table_size(oid) AS size FROM pg_class WHERE oid = ANY ($1::oid[])
      UNION ALL
      SELECT i.reltablespace, pg_relation_size(i.oid) FROM pg_index x
      JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = ANY ($1::oid[])) s
LEFT JOIN pg_tablespace t ON t.oid = s.place GROUP BY 1)",
                                       {db::IntegerArray(tables)})
                                .rows) {
    needs[row[0].text] += row[1].AsInteger();
  }
  return needs;
}

namespace {

// Whether the server's process is one of this machine's, so that its paths are ours.
bool RunsHere(db::Session& session) {
  const std::string pid = session.Scalar("SELECT pg_backend_pid()").text;
  std::ifstream title("/proc/" + pid + "/cmdline");
  std::string text;
  std::getline(title, text, '\0');
  return text.starts_with("postgres: ");
}

std::string Megabytes(std::int64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MB";
}

}  // namespace

void CheckDisk(db::Session& session, const SpaceNeeds& needs, core::Plan& plan) {
  std::map<std::string, std::string> places;  // of each tablespace
  for (const db::Row& row : session
                                .Query("SELECT t.spcname, pg_tablespace_location(t.oid), d.oid IS "
                                       "NOT NULL FROM pg_tablespace t LEFT JOIN pg_database d ON "
                                       "d.dattablespace = t.oid AND d.datname = current_database()")
                                .rows) {
    places[row[0].text] = row[1].text;
    if (row[2].AsBool()) places[""] = row[1].text;
  }
  const bool known =
      std::ranges::all_of(needs, [&](const auto& need) { return places.contains(need.first); });
  std::map<std::string, std::int64_t> by_place;  // "" = the data directory
  std::int64_t all = 0;
  for (const auto& [tablespace, bytes] : needs) {
    by_place[places[known ? tablespace : ""]] += bytes;
    all += bytes;
  }
  by_place.try_emplace("", 0);  // the write-ahead log
  const auto data = session.MaybeScalar(
      "SELECT setting FROM pg_settings WHERE name = 'data_directory' AND setting <> ''");
  const std::int64_t log = std::min(
      all, session
               .Scalar("SELECT pg_size_bytes(setting || unit) FROM pg_settings WHERE name = "
                       "'max_wal_size'")
               .AsInteger());
  const auto tell = [&](const std::string& what) {
    core::PlanStep step;
    step.phase = "plan";
    step.what = "disk: " + what;
    plan.steps.push_back(std::move(step));
  };
  const std::string sum = "the shadow takes about " + Megabytes(all) +
                          ", and the server's write-ahead log about " + Megabytes(log) +
                          " at a time (all of it, " + Megabytes(all) +
                          ", where an archive or a slot lags)";
  if (!data || !RunsHere(session)) {
    const std::string unknown =
        sum + "; how much is free on the server cannot be seen from here" +
        (data ? ": compare with df " + data->text + " there"
              : " (its data_directory is not shown to this role: GRANT pg_monitor)");
    tell(unknown);
    if (all > kDiskTold) plan.warnings.push_back(unknown);
    return;
  }
  // What shares a file system shares its room.
  struct Room {
    std::string where;
    std::int64_t needed = 0;
    std::int64_t log = 0;
    std::int64_t free = 0;
  };
  std::map<dev_t, Room> rooms;
  const auto add = [&](const std::string& path, std::int64_t bytes, std::int64_t log_bytes) {
    struct stat status {};
    std::error_code error;
    const auto space = std::filesystem::space(path, error);
    if (error || ::stat(path.c_str(), &status) != 0) return false;
    Room& room = rooms[status.st_dev];
    if (room.where.empty()) room.where = path;
    room.needed += bytes;
    room.log += log_bytes;
    room.free = static_cast<std::int64_t>(space.available);
    return true;
  };
  std::string unseen;
  for (const auto& [place, bytes] : by_place) {
    const std::string path = place.empty() ? data->text : place;
    if (!add(path, bytes, 0)) unseen += (unseen.empty() ? "" : ", ") + path;
  }
  if (!add(data->text + "/pg_wal", 0, log)) add(data->text, 0, log);
  for (const auto& [device, room] : rooms) {
    const std::string numbers =
        Megabytes(room.needed) + " of tables and indexes" +
        (room.log == 0 ? "" : " and " + Megabytes(room.log) + " of write-ahead log") + ", " +
        Megabytes(room.free) + " are free in " + room.where;
    tell("needed: about " + numbers);
    if (room.needed > room.free) {
      plan.refused.push_back({"the server's disk", "the shadow needs about " + numbers +
                                                       ": make room there, then plan again"});
    } else if (room.needed + room.log > room.free) {
      plan.warnings.push_back("the disk may run full: the shadow needs about " + numbers);
    }
  }
  if (!unseen.empty())
    plan.warnings.push_back(sum + "; how much is free cannot be seen in " + unseen);
}

void TellOthers(db::Session& session, const std::vector<Movable>& old_objects, core::Plan& plan) {
  for (const db::Row& row :
       session
           .Query(std::string("SELECT format('pid %s (%s, %s) is in a transaction for %s: %s', "
                              "pid, usename, state, date_trunc('second', now() - xact_start), "
                              "left(regexp_replace(query, '\\s+', ' ', 'g'), 60)), pid "
                              "FROM pg_stat_activity WHERE datname = current_database() "
                              "AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
                              "AND xact_start < now() - interval '") +
                  kLongTransaction + "' ORDER BY xact_start")
           .rows) {
    plan.warnings.push_back(
        row[0].text +
        "; it may hold back the triggers and the cutover: let it end, or end it with SELECT "
        "pg_terminate_backend(" +
        row[1].text + ")");
  }
  for (const db::Row& row :
       session
           .Query("SELECT format('the prepared transaction %s of %s is open for %s', "
                  "quote_literal(gid), owner, date_trunc('second', now() - prepared)), "
                  "quote_literal(gid) "
                  "FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared")
           .rows) {
    plan.warnings.push_back(row[0].text +
                            "; it holds the cutover back: COMMIT PREPARED or ROLLBACK PREPARED " +
                            row[1].text);
  }
  const db::Params tables = {TableOids(old_objects)};
  for (const db::Row& row : session
                                .Query(R"(
SELECT format('pid %s vacuums %s to prevent wraparound (%s of %s blocks)', a.pid,
              coalesce(m.oid, p.relid)::regclass, p.heap_blks_scanned, p.heap_blks_total)
FROM pg_stat_activity a JOIN pg_stat_progress_vacuum p ON p.pid = a.pid
LEFT JOIN pg_class m ON m.reltoastrelid = p.relid
WHERE a.datname = current_database() AND a.backend_type = 'autovacuum worker'
  AND a.query LIKE '%to prevent wraparound%' AND coalesce(m.oid, p.relid) = ANY ($1::oid[])
ORDER BY 1)",
                                       tables)
                                .rows) {
    plan.warnings.push_back(row[0].text +
                            "; it does not give way, and holds back the triggers and the cutover: "
                            "wait for its end");
  }
  // What is counted with the table's own limit, and its TOAST with it.
  if (const std::string due = Lines(session.Query(
          R"(
SELECT c.oid::regclass::text FROM pg_class c LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
CROSS JOIN LATERAL (
  SELECT least(current_setting('autovacuum_freeze_max_age')::bigint,
               max(option_value::bigint) FILTER (WHERE option_name = 'autovacuum_freeze_max_age')) AS xids,
         least(current_setting('autovacuum_multixact_freeze_max_age')::bigint,
               max(option_value::bigint) FILTER (WHERE option_name = 'autovacuum_multixact_freeze_max_age')) AS multis
  FROM pg_options_to_table(c.reloptions)) l
WHERE c.oid = ANY ($1::oid[]) AND c.relkind IN ('r', 'm')
  AND (greatest(age(c.relfrozenxid), age(t.relfrozenxid)) > 0.95 * l.xids
       OR greatest(mxid_age(c.relminmxid), mxid_age(t.relminmxid)) > 0.95 * l.multis)
  AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum p WHERE p.relid IN (c.oid, t.oid))
ORDER BY 1)",
          tables));
      !due.empty()) {
    plan.warnings.push_back("vacuum to prevent wraparound is due on " + due +
                            " and would not give way to locks: VACUUM (FREEZE) them before");
  }
  for (const db::Row& row : session
                                .Query(R"(
SELECT coalesce(nullif(application_name, ''), client_addr::text, 'pid ' || pid),
       backend_xmin IS NOT NULL OR EXISTS (SELECT FROM pg_replication_slots s
         WHERE s.active_pid = r.pid AND s.xmin IS NOT NULL),
       greatest(age(backend_xmin), (SELECT max(age(s.xmin)) FROM pg_replication_slots s
         WHERE s.active_pid = r.pid)),
       coalesce(extract(epoch FROM replay_lag)::bigint, 0)
FROM pg_stat_replication r WHERE state IN ('streaming', 'catchup') AND replay_lsn IS NOT NULL
ORDER BY 1)")
                                .rows) {
    const std::string feedback =
        row[1].AsBool()
            ? "with hot_standby_feedback, its oldest query is " + row[2].text + " transactions old"
            : "without hot_standby_feedback or without a query now";
    plan.warnings.push_back(
        "the standby " + row[0].text + " (" + feedback + ", " + row[3].text +
        " s behind) replays the cutover's locks: it cancels queries on these tables that go on for "
        "more than its max_standby_streaming_delay, and a transaction there whose snapshot is "
        "older than the last replay would see the new tables empty");
  }
  if (const std::string triggers = Lines(
          session.Query("SELECT evtname FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY 1"));
      !triggers.empty()) {
    plan.warnings.push_back("event triggers see understudy's statements: " + triggers);
  }
  if (const std::string columns = Lines(session.Query(
          "SELECT format('%s.%I', attrelid::regclass, attname) FROM pg_attribute "
          "WHERE attrelid = ANY ($1::oid[]) AND atttypid = 'oid'::regtype AND attnum > 0 "
          "AND EXISTS (SELECT FROM pg_largeobject_metadata) ORDER BY 1",
          tables));
      !columns.empty()) {
    plan.warnings.push_back(columns +
                            " may hold large objects: only their numbers are copied, the objects "
                            "stay with their owners");
  }
  std::vector<std::uint32_t> all;
  for (const Movable& object : old_objects) all.push_back(object.oid);
  for (const db::Row& row :
       session
           .Query("SELECT i.type || ' ' || i.identity, l.provider FROM pg_seclabel l CROSS JOIN "
                  "LATERAL pg_identify_object(l.classoid, l.objoid, l.objsubid) i WHERE l.objoid = "
                  "ANY ($1::oid[]) AND l.classoid IN ('pg_class'::regclass, 'pg_proc'::regclass, "
                  "'pg_type'::regclass) ORDER BY 1, 2",
                  {db::IntegerArray(all)})
           .rows) {
    plan.refused.push_back({row[0].text, "its security label (" + row[1].text +
                                             ") would not go over to the new one: remove it, or "
                                             "leave the object out with \"exclude\""});
  }
}

namespace {

// What LOCK TABLE of the tables $1 (numbers) and $2 (names) takes: their partitions, too.
constexpr const char* kHeldTables = R"(
WITH RECURSIVE held AS (
  SELECT unnest($1::oid[]) AS oid
  UNION SELECT to_regclass(name) FROM unnest($2::text[]) AS name
  UNION SELECT i.inhrelid FROM held JOIN pg_inherits i ON i.inhparent = held.oid))";

db::Value Names(const std::vector<db::TableName>& tables) {
  std::vector<std::string> names;
  for (const db::TableName& table : tables) names.push_back(table.Quoted());
  return db::TextArray(names);
}

}  // namespace

void LetVacuumsGiveWay(const core::Context& context, db::Session& session, const db::Value& oids,
                       const std::vector<db::TableName>& more) {
  const db::Result held = session.Query(std::string(kHeldTables) + R"(
SELECT DISTINCT format('%I.%I', n.nspname, c.relname) FROM pg_locks l
JOIN held ON held.oid = l.relation
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND c.relkind IN ('r', 'p') AND l.pid <> pg_backend_pid())",
                                        {oids, Names(more)});
  if (held.rows.empty()) return;
  const std::int64_t patience =
      session.Scalar("SELECT setting FROM pg_settings WHERE name = 'deadlock_timeout'")
          .AsInteger() +
      kVacuumGoes.count();
  for (const db::Row& row : held.rows) {
    context.ThrowIfStopped();
    context.Log("info", row[0].text + " is being vacuumed: asked to give way");
    try {
      db::Transaction transaction(session);
      session.Execute("SET LOCAL lock_timeout = " + std::to_string(patience) +
                      "; SET LOCAL statement_timeout = 0; LOCK TABLE ONLY " + row[0].text +
                      " IN SHARE UPDATE EXCLUSIVE MODE");
      transaction.Commit();
    } catch (const Error& error) {
      if (!IsRetryable(error.kind()) && error.kind() != ErrorKind::kCancelled) throw;
      if (error.kind() == ErrorKind::kUnavailable) throw;
      context.Log("warning", "what holds " + row[0].text +
                                 " does not give way (a vacuum to prevent wraparound, a VACUUM or "
                                 "CREATE INDEX CONCURRENTLY by hand)");
    }
  }
}

std::string HoldersOf(db::Session& session, const db::Value& oids,
                      const std::vector<db::TableName>& more, std::chrono::milliseconds waited,
                      bool also_readers) {
  const db::Result holders = session.Query(std::string(kHeldTables) + R"(, locks AS (
  SELECT l.pid, l.virtualtransaction, min(l.relation::regclass::text) AS first
  FROM pg_locks l JOIN held ON held.oid = l.relation
  WHERE l.locktype = 'relation' AND l.granted
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND ($4::boolean OR l.mode NOT IN ('AccessShareLock', 'RowShareLock'))
  GROUP BY l.pid, l.virtualtransaction),
holders AS (
  SELECT format('pid %s (%s) on %s', a.pid,
                concat_ws(', ', nullif(a.application_name, ''), a.usename, a.state,
                          'in a transaction for ' ||
                          date_trunc('second', clock_timestamp() - a.xact_start)),
                locks.first) AS holder, a.xact_start AS since, a.pid
  FROM locks JOIN pg_stat_activity a ON a.pid = locks.pid
  WHERE a.application_name NOT LIKE 'understudy-engine%'
    AND (a.xact_start IS NOT NULL OR a.state IS NULL)  -- not shown to us; else it has ended since
  UNION ALL
  SELECT format('the prepared transaction %L (%s, for %s) on %s', p.gid, p.owner,
                date_trunc('second', clock_timestamp() - p.prepared), locks.first), p.prepared, 0
  FROM locks
  JOIN pg_locks own ON own.pid IS NULL AND own.locktype = 'transactionid'
    AND own.virtualtransaction = locks.virtualtransaction
  JOIN pg_prepared_xacts p ON p.transaction = own.transactionid
  WHERE locks.pid IS NULL)
SELECT holder FROM holders
WHERE since IS NULL OR since < clock_timestamp() - $3::bigint * interval '1 ms'
ORDER BY since NULLS LAST, pid LIMIT 3)",
                                           {oids, Names(more), db::Value::Integer(waited.count()),
                                            db::Value::Text(also_readers ? "true" : "false")});
  std::string all;
  for (const db::Row& row : holders.rows) all += (all.empty() ? "" : ", ") + row[0].text;
  return all;
}

}  // namespace understudy::table_swap
