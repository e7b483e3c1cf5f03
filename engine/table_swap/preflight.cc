#include "engine/table_swap/preflight.h"

#include <algorithm>
#include <filesystem>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "engine/db/pooler.h"

namespace understudy::table_swap {
namespace {

constexpr const char* kLongTransaction = "5 seconds";
constexpr double kLockTableFull = 0.9;
constexpr double kLockTableTight = 0.5;

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
  const std::string& name = role[0].text;
  std::string owners;
  for (const db::Row& row : session
                                .Query("SELECT DISTINCT quote_ident(pg_get_userbyid(c.relowner)) "
                                       "FROM pg_class c WHERE c.oid = ANY ($1::oid[]) ORDER BY 1",
                                       {TableOids(old_objects)})
                                .rows) {
    owners += (owners.empty() ? "" : ", ") + row[0].text;
  }
  core::PlanStep needs;
  needs.phase = "plan";
  needs.what =
      "the role that does it needs no superuser: CREATEDB (or the server programs of the target's "
      "major on this machine); GRANT CREATE ON DATABASE " +
      role[3].text + (owners.empty() ? "" : "; GRANT " + owners) +
      " (the owners of the tables); GRANT pg_monitor (to see old snapshots); CREATE on the "
      "schemas; on the source SELECT";
  plan.steps.push_back(std::move(needs));
  if (role[1].AsBool()) return;
  const auto refuse = [&](const std::string& what, const std::string& grant) {
    plan.refused.push_back({"role " + name, what + ": " + grant});
  };
  if (!role[2].AsBool()) {
    refuse("it may not make schemas here",
           "GRANT CREATE ON DATABASE " + role[3].text + " TO " + name);
  }
  for (const std::string& schema : settings.schemas) {
    const auto may = session.MaybeScalar(
        "SELECT has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE') "
        "FROM pg_namespace n WHERE n.nspname = $1",
        {db::Value::Text(schema)});
    if (may && !may->AsBool()) {
      refuse("it may not move tables into the schema " + schema,
             "GRANT USAGE, CREATE ON SCHEMA " + db::QuoteIdentifier(schema) + " TO " + name);
    }
  }
  for (const db::Row& row :
       session
           .Query("SELECT quote_ident(pg_get_userbyid(c.relowner)), "
                  "string_agg(c.oid::regclass::text, ', ' ORDER BY c.oid) FROM pg_class c "
                  "WHERE c.oid = ANY ($1::oid[]) AND NOT pg_has_role(c.relowner, 'USAGE') "
                  "GROUP BY c.relowner ORDER BY 1",
                  {TableOids(old_objects)})
           .rows) {
    refuse("it does not own " + row[1].text, "GRANT " + row[0].text + " TO " + name);
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
        "behind the cutover go unnoticed: GRANT pg_monitor TO " +
        name);
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
                              "for limits.jobs + 4 connections; the server itself is better");
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
  const db::Row row =
      session
          .Query(
              "SELECT current_setting('max_locks_per_transaction')::bigint * "
              "(current_setting('max_connections')::bigint + "
              "current_setting('max_prepared_transactions')::bigint), "
              "(SELECT count(*) FROM pg_locks WHERE locktype = 'relation'), "
              "(SELECT count(*) FROM pg_class c WHERE c.oid = ANY ($1::oid[]) OR c.oid IN "
              "(SELECT indexrelid FROM pg_index WHERE indrelid = ANY ($1::oid[])) OR c.oid IN "
              "(SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND refclassid = "
              "'pg_class'::regclass AND refobjid = ANY ($1::oid[]) AND deptype IN ('a', 'i')))",
              {TableOids(old_objects)})
          .rows.at(0);
  const auto capacity = static_cast<double>(row[0].AsInteger());
  // Both sides, with indexes and sequences, and what drops them again.
  const auto needed = 2 * static_cast<double>(row[2].AsInteger());
  const auto used = static_cast<double>(row[1].AsInteger());
  const std::string numbers = "the exchange needs about " +
                              std::to_string(static_cast<std::int64_t>(needed)) +
                              " locks at once, the server's lock table holds about " + row[0].text +
                              " (max_locks_per_transaction × connections), " + row[1].text +
                              " are taken now; when it is full, clients fail";
  if (needed + used > capacity * kLockTableFull) {
    plan.refused.push_back({"the lock table", numbers + ": raise max_locks_per_transaction"});
  } else if (needed + used > capacity * kLockTableTight) {
    plan.warnings.push_back(numbers);
  }
}

void CheckDisk(db::Session& session, std::int64_t needed_bytes, core::Plan& plan) {
  const auto told = [&](const std::string& more) {
    plan.warnings.push_back("the shadow needs about " + std::to_string(needed_bytes >> 20) +
                            " MB on the server's disk, and as much again of write-ahead log" +
                            more);
  };
  const auto folder = session.MaybeScalar(
      "SELECT setting FROM pg_settings WHERE name = 'data_directory' AND setting <> ''");
  std::error_code error;
  const bool here = session.Scalar("SELECT inet_server_addr() IS NULL").AsBool();
  if (!here || !folder || !std::filesystem::is_directory(folder->text, error)) {
    if (needed_bytes > (std::int64_t{1} << 30)) told("; how much is free there is not known");
    return;
  }
  const auto space = std::filesystem::space(folder->text, error);
  if (error) return;
  if (static_cast<std::uint64_t>(needed_bytes) > space.available) {
    plan.refused.push_back(
        {"the server's disk", "the shadow needs about " + std::to_string(needed_bytes >> 20) +
                                  " MB, and " + std::to_string(space.available >> 20U) +
                                  " MB are free in " + folder->text});
  } else if (static_cast<std::uint64_t>(needed_bytes) * 2 > space.available) {
    told("; " + std::to_string(space.available >> 20U) + " MB are free");
  }
}

void TellOthers(db::Session& session, const std::vector<Movable>& old_objects, core::Plan& plan) {
  for (const db::Row& row :
       session
           .Query(std::string("SELECT format('pid %s (%s, %s) is in a transaction since %s: %s', "
                              "pid, usename, state, date_trunc('second', now() - xact_start), "
                              "left(regexp_replace(query, '\\s+', ' ', 'g'), 60)) "
                              "FROM pg_stat_activity WHERE datname = current_database() "
                              "AND pid <> pg_backend_pid() AND backend_type = 'client backend' "
                              "AND xact_start < now() - interval '") +
                  kLongTransaction + "' ORDER BY xact_start")
           .rows) {
    plan.warnings.push_back(row[0].text + "; it may hold back the triggers and the cutover");
  }
  for (const db::Row& row :
       session
           .Query("SELECT format('the prepared transaction %s of %s is open since %s', "
                  "quote_literal(gid), owner, date_trunc('second', now() - prepared)) "
                  "FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared")
           .rows) {
    plan.warnings.push_back(row[0].text + "; it holds the cutover back");
  }
  const db::Params tables = {TableOids(old_objects)};
  for (const db::Row& row :
       session
           .Query("SELECT format('pid %s: %s', a.pid, left(a.query, 80)) FROM pg_stat_activity a "
                  "WHERE a.datname = current_database() AND a.backend_type = 'autovacuum worker' "
                  "AND a.query LIKE '%to prevent wraparound%'")
           .rows) {
    plan.warnings.push_back(row[0].text + ": it does not give way to locks; wait for its end");
  }
  if (const std::string due = Lines(session.Query(
          "SELECT oid::regclass::text FROM pg_class WHERE oid = ANY ($1::oid[]) AND relkind = 'r' "
          "AND age(relfrozenxid) > 0.95 * current_setting('autovacuum_freeze_max_age')::bigint "
          "ORDER BY 1",
          tables));
      !due.empty()) {
    plan.warnings.push_back("vacuum to prevent wraparound is due on " + due +
                            " and would not give way to locks: VACUUM FREEZE them before");
  }
  if (const std::string standbys = Lines(session.Query(
          "SELECT DISTINCT coalesce(nullif(application_name, ''), client_addr::text, 'one') FROM "
          "pg_stat_replication WHERE state IN ('streaming', 'catchup') ORDER BY 1"));
      !standbys.empty()) {
    plan.warnings.push_back("standbys (" + standbys +
                            ") replay the cutover's locks and cancel queries on these tables that "
                            "are longer than their max_standby_streaming_delay");
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
  if (session
          .Scalar("SELECT EXISTS (SELECT FROM pg_seclabel WHERE classoid = "
                  "'pg_class'::regclass AND objoid = ANY ($1::oid[]))",
                  tables)
          .AsBool()) {
    plan.warnings.emplace_back("security labels of the tables do not go over to the new ones");
  }
}

}  // namespace understudy::table_swap
