#include "engine/core/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>

#include "engine/base/clock.h"
#include "engine/base/digest.h"
#include "engine/base/error.h"

namespace understudy::core {
namespace {
constexpr std::chrono::seconds kHolderMayBeDying{2};
constexpr std::array<std::string_view, 11> kStates = {
    "none",    "preparing",   "syncing", "ready",  "cutover",  "verified",
    "cleaned", "rolled-back", "reset",   "failed", "ambiguous"};

bool IsPostgres(const db::Session& session) {
  return session.Server().engine == db::Engine::kPostgres;
}

// Makes `work` one transaction where none is open.
template <typename Work>
void InTransaction(db::Session& session, Work work) {
  if (session.InTransaction()) {
    work();
    return;
  }
  db::Transaction transaction(session, db::Isolation::kDefault, false, /*immediate=*/true);
  work();
  transaction.Commit();
}
}  // namespace

std::string_view StateName(State state) { return kStates[static_cast<std::size_t>(state)]; }

State StateFromName(std::string_view name) {
  for (std::size_t i = 0; i < kStates.size(); ++i) {
    if (kStates[i] == name) return static_cast<State>(i);
  }
  throw Error(ErrorKind::kMismatch, "the journal holds a state that this version does not know: '" +
                                        std::string(name) + "'");
}

Journal::Journal(db::Session& session, std::string migration_id)
    : session_(session), id_(std::move(migration_id)) {}

std::string Journal::Table(const char* name) const {
  return (IsPostgres(session_) ? "understudy." : "_understudy_") + std::string(name);
}

bool Journal::Exists() {
  if (IsPostgres(session_)) {
    const db::Row row =
        session_
            .Query(
                "SELECT CASE WHEN coalesce(has_schema_privilege(n.oid, 'USAGE'), true) "
                "THEN to_regclass('understudy.migrations') IS NOT NULL "
                "AND to_regclass('understudy.entries') IS NOT NULL END, "
                "n.nspowner::regrole::text, current_user "
                "FROM (SELECT) one LEFT JOIN pg_namespace n ON n.nspname = 'understudy'")
            .rows.at(0);
    if (!row[0].is_null()) return row[0].AsBool();
    throw Error(ErrorKind::kEnvironment,
                "migrations here are the role " + row[1].text + "'s, and " + row[2].text +
                    " may not read their journal (the schema understudy): run this as " +
                    row[1].text);
  }
  return session_
             .Scalar(
                 "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN "
                 "('_understudy_migrations', '_understudy_entries')")
             .AsInteger() == 2;
}

void Journal::Create() {
  if (Exists()) return;
  InTransaction(session_, [&] {
    if (IsPostgres(session_)) {
      // IF NOT EXISTS fails when another session is making the same just now.
      session_.Query(
          "SELECT pg_catalog.pg_advisory_xact_lock("
          "pg_catalog.hashtextextended('understudy journal', 0))");
      session_.Execute("CREATE SCHEMA IF NOT EXISTS understudy");
      session_.Execute(
          "COMMENT ON SCHEMA understudy IS 'The journal of understudy: what its "
          "migrations have done here. Removed by: understudy migrate cleanup'");
    }
    session_.Execute("CREATE TABLE IF NOT EXISTS " + Table("migrations") +
                     "(id text PRIMARY KEY, strategy text NOT NULL, digest text NOT NULL, "
                     "state text NOT NULL, epoch bigint NOT NULL, detail text NOT NULL, "
                     "updated_at text NOT NULL)");
    session_.Execute("CREATE TABLE IF NOT EXISTS " + Table("entries") +
                     "(migration text NOT NULL, number bigint NOT NULL, name text NOT NULL, "
                     "detail text NOT NULL, at text NOT NULL, PRIMARY KEY (migration, number), "
                     "UNIQUE (migration, name))");
  });
}

void Journal::LetOneBegin() {
  if (!IsPostgres(session_)) return;  // one writer at a time as it is
  session_.Query(
      "SELECT pg_catalog.pg_advisory_xact_lock("
      "pg_catalog.hashtextextended('understudy begins', 0))");
}

std::optional<JournalRecord> Journal::Load() {
  if (!Exists()) return std::nullopt;
  const db::Result result = session_.Query("SELECT strategy, digest, state, epoch, detail FROM " +
                                               Table("migrations") + " WHERE id = $1",
                                           {db::Value::Text(id_)});
  if (result.rows.empty()) return std::nullopt;
  const db::Row& row = result.rows[0];
  return JournalRecord{row[0].text, row[1].text, StateFromName(row[2].text), row[3].AsInteger(),
                       ParseJson(row[4].text, "journal")};
}

void Journal::Save(const JournalRecord& record) {
  session_.Query(
      "INSERT INTO " + Table("migrations") +
          "(id, strategy, digest, state, epoch, detail, updated_at) "
          "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET "
          "strategy = excluded.strategy, digest = excluded.digest, "
          "state = excluded.state, epoch = excluded.epoch, detail = excluded.detail, "
          "updated_at = excluded.updated_at",
      {db::Value::Text(id_), db::Value::Text(record.strategy), db::Value::Text(record.digest),
       db::Value::Text(std::string(StateName(record.state))), db::Value::Integer(record.epoch),
       db::Value::Text(ToLine(record.detail)), db::Value::Text(UtcNow())});
}

void Journal::SetState(State state, const Json& detail) {
  session_.Query("UPDATE " + Table("migrations") +
                     " SET state = $2, detail = $3, updated_at = $4 WHERE id = $1",
                 {db::Value::Text(id_), db::Value::Text(std::string(StateName(state))),
                  db::Value::Text(ToLine(detail)), db::Value::Text(UtcNow())});
}

std::int64_t Journal::TakeOver() {
  return session_
      .Scalar("UPDATE " + Table("migrations") +
                  " SET epoch = epoch + 1, updated_at = $2 WHERE id = $1 RETURNING epoch",
              {db::Value::Text(id_), db::Value::Text(UtcNow())})
      .AsInteger();
}

void Journal::CheckEpoch(std::int64_t epoch) {
  const std::string lock = IsPostgres(session_) ? " FOR UPDATE" : "";
  const auto present = session_.MaybeScalar(
      "SELECT epoch FROM " + Table("migrations") + " WHERE id = $1" + lock, {db::Value::Text(id_)});
  if (!present || present->AsInteger() != epoch) {
    throw Error(ErrorKind::kMismatch,
                "another process has taken over the migration '" + id_ +
                    "'; this one stops here. Ask: understudy migrate status",
                "epoch");
  }
}

void Journal::Add(const std::string& name, const Json& detail) {
  session_.Query("INSERT INTO " + Table("entries") +
                     "(migration, number, name, detail, at) SELECT $1, "
                     "coalesce(max(number), 0) + 1, $2, $3, $4 FROM " +
                     Table("entries") + " WHERE migration = $1",
                 {db::Value::Text(id_), db::Value::Text(name), db::Value::Text(ToLine(detail)),
                  db::Value::Text(UtcNow())});
}

void Journal::Put(const std::string& name, const Json& detail) {
  const db::Result updated = session_.Query(
      "UPDATE " + Table("entries") + " SET detail = $3 WHERE migration = $1 AND name = $2",
      {db::Value::Text(id_), db::Value::Text(name), db::Value::Text(ToLine(detail))});
  if (updated.affected == 0) Add(name, detail);
}

void Journal::Remove(const std::string& name) {
  session_.Query("DELETE FROM " + Table("entries") + " WHERE migration = $1 AND name = $2",
                 {db::Value::Text(id_), db::Value::Text(name)});
}

std::vector<JournalEntry> Journal::Entries() {
  std::vector<JournalEntry> entries;
  if (!Exists()) return entries;
  const db::Result result = session_.Query("SELECT number, name, detail FROM " + Table("entries") +
                                               " WHERE migration = $1 ORDER BY number",
                                           {db::Value::Text(id_)});
  for (const db::Row& row : result.rows) {
    entries.push_back({row[0].AsInteger(), row[1].text, ParseJson(row[2].text, "journal")});
  }
  return entries;
}

std::optional<JournalEntry> Journal::Find(const std::string& name) {
  for (JournalEntry& entry : Entries()) {
    if (entry.name == name) return std::move(entry);
  }
  return std::nullopt;
}

void Journal::Drop() {
  if (!Exists()) return;
  InTransaction(session_, [&] {
    session_.Query("DELETE FROM " + Table("entries") + " WHERE migration = $1",
                   {db::Value::Text(id_)});
    session_.Query("DELETE FROM " + Table("migrations") + " WHERE id = $1", {db::Value::Text(id_)});
    if (session_.Scalar("SELECT count(*) FROM " + Table("migrations")).AsInteger() > 0) return;
    session_.Execute("DROP TABLE " + Table("entries"));
    session_.Execute("DROP TABLE " + Table("migrations"));
    if (IsPostgres(session_) &&
        session_.Scalar("SELECT count(*) FROM pg_class WHERE relnamespace = "
                        "(SELECT oid FROM pg_namespace WHERE nspname = 'understudy')")
                .AsInteger() == 0) {
      session_.Execute("DROP SCHEMA understudy RESTRICT");
    }
  });
}

MigrationLock::MigrationLock(const db::Endpoint& target, const std::string& migration_id) {
  if (target.engine() == db::Engine::kPostgres) {
    db::SessionOptions options;
    options.application_name = "understudy-engine lock";
    session_ = db::Connect(target, options);
    // The first 15 hex digits of the digest fit a positive bigint.
    const auto key = static_cast<std::int64_t>(
        std::stoull(Sha256Hex("understudy:" + migration_id).substr(0, 15), nullptr, 16));
    const auto taken = [&] {
      return session_->Scalar("SELECT pg_try_advisory_lock($1)", {db::Value::Integer(key)})
          .AsBool();
    };
    // A server process outlives its killed client by a moment.
    const auto deadline = SteadyClock::now() + kHolderMayBeDying;
    bool ours = taken();
    while (!ours && SteadyClock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      ours = taken();
    }
    if (!ours) {
      const auto holder = session_->MaybeScalar(
          "SELECT 'pid ' || a.pid || ' since ' || a.backend_start FROM pg_locks l "
          "JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted "
          "AND (l.classid::bigint << 32) + l.objid::bigint = $1",
          {db::Value::Integer(key)});
      throw Error(ErrorKind::kMismatch,
                  "another process works on the migration '" + migration_id + "'" +
                      (holder ? " (server " + holder->text + ")" : "") +
                      "; wait for it, or end it, then run this again",
                  "locked");
    }
    return;
  }
  file_ = target.file().string() + ".understudy-lock";
  for (;;) {
    fd_ = ::open(file_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd_ < 0) {
      throw Error(ErrorKind::kEnvironment, "cannot make " + file_ + ": " + std::strerror(errno));
    }
    if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) {
      // The last holder may have removed the file between our open and our lock.
      struct stat ours {};
      struct stat named {};
      if (::fstat(fd_, &ours) == 0 && ::stat(file_.c_str(), &named) == 0 &&
          ours.st_ino == named.st_ino) {
        return;
      }
      ::close(fd_);
      continue;
    }
    ::close(fd_);
    throw Error(ErrorKind::kMismatch,
                "another process works on the migration '" + migration_id + "' (it holds " + file_ +
                    "); wait for it, or end it, then run this again",
                "locked");
  }
}

MigrationLock::~MigrationLock() {
  if (session_) {
    try {  // the server would free it with the connection, but not at once
      session_->Query("SELECT pg_advisory_unlock_all()");
    } catch (const std::exception&) {  // it is gone, and the lock with it
    }
  }
  if (fd_ < 0) return;
  ::unlink(file_.c_str());
  ::close(fd_);
}

}  // namespace understudy::core
