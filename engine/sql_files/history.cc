#include "engine/sql_files/history.h"

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/db/identifier.h"

namespace understudy::sql_files {
namespace {

std::string NameOf(Layout layout) {
  switch (layout) {
    case Layout::kGolangMigrate:
    case Layout::kDbmate:
      return "schema_migrations";
    case Layout::kGoose:
      return "goose_db_version";
    case Layout::kFlyway:
      return "flyway_schema_history";
    case Layout::kSqitch:
      return "changes";
    case Layout::kPlain:
      break;
  }
  return "";
}

bool IsPostgres(const db::Session& session) {
  return session.Server().engine == db::Engine::kPostgres;
}

std::string WithoutZeros(std::string text) {
  const auto digit = text.find_first_not_of('0');
  return digit == std::string::npos ? "0" : text.substr(digit);
}

}  // namespace

History::History(db::Session& session, Layout layout) : session_(session), layout_(layout) {}

std::string History::Table() const { return db::TableName{schema_, NameOf(layout_)}.Quoted(); }

std::string History::Display() const {
  if (layout_ == Layout::kPlain) return "";
  return db::TableName{schema_, NameOf(layout_)}.Display();
}

bool History::writable() const {
  return layout_ == Layout::kGolangMigrate || layout_ == Layout::kGoose ||
         layout_ == Layout::kDbmate;
}

void History::Read() {
  applied_.clear();
  checksums_.clear();
  up_to_.reset();
  dirty_.reset();
  exists_ = false;
  if (layout_ == Layout::kPlain) return;
  const std::string name = NameOf(layout_);
  const auto text = db::Value::Text;
  if (IsPostgres(session_)) {
    const std::string wanted = layout_ == Layout::kSqitch ? "sqitch." + name : name;
    const auto found = session_.Query(
        "SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n "
        "ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass($1)",
        {text(wanted)});
    exists_ = !found.rows.empty();
    schema_ = exists_ ? found.rows[0][0].text
              : layout_ == Layout::kSqitch
                  ? "sqitch"
                  : session_.Scalar("SELECT coalesce(pg_catalog.current_schema(), 'public')").text;
  } else {
    schema_ = "main";
    exists_ = session_
                  .Scalar("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1",
                          {text(name)})
                  .AsInteger() > 0;
  }
  if (!exists_) return;
  std::set<std::string> columns;
  const auto described = session_.Query("SELECT * FROM " + Table() + " LIMIT 0");
  for (const db::ResultColumn& column : described.columns) columns.insert(column.name);
  const auto expect = [&](const char* column, bool present) {
    if (columns.contains(column) == present) return;
    throw Error(ErrorKind::kMismatch,
                "the table " + Display() + " is not the one that " +
                    std::string(LayoutName(layout_)) + " keeps: its column '" + column + "' is " +
                    (present ? "missing" : "not expected") +
                    "; say the right 'layout', or 'plain' to leave the table alone");
  };
  switch (layout_) {
    case Layout::kGolangMigrate: {
      expect("dirty", true);
      const auto rows = session_.Query("SELECT version, dirty FROM " + Table() + " LIMIT 1").rows;
      if (!rows.empty()) {
        const std::string version = rows[0][0].text == "-1" ? "" : rows[0][0].text;
        if (rows[0][1].AsBool()) dirty_ = version;
        up_to_ = version;
      }
      break;
    }
    case Layout::kGoose:
      expect("is_applied", true);
      for (const db::Row& row :
           session_.Query("SELECT version_id, is_applied FROM " + Table() + " ORDER BY id").rows) {
        if (row[1].AsBool()) {
          applied_.insert(row[0].text);
        } else {
          applied_.erase(row[0].text);
        }
      }
      break;
    case Layout::kDbmate:
      expect("dirty", false);
      for (const db::Row& row : session_.Query("SELECT version FROM " + Table()).rows) {
        applied_.insert(row[0].text);
      }
      break;
    case Layout::kFlyway:
      expect("installed_rank", true);
      for (const db::Row& row :
           session_
               .Query("SELECT version, description, type, checksum, success FROM " + Table() +
                      " ORDER BY installed_rank")
               .rows) {
        if (!row[4].AsBool()) continue;
        if (row[0].is_null()) {
          if (!row[3].is_null()) {
            checksums_[row[1].text] = static_cast<std::int32_t>(row[3].AsInteger());
          }
        } else if (row[2].text.starts_with("UNDO") || row[2].text == "DELETE") {
          applied_.erase(row[0].text);
        } else {
          if (row[2].text == "BASELINE") up_to_ = row[0].text;
          applied_.insert(row[0].text);
        }
      }
      break;
    case Layout::kSqitch:
      for (const db::Row& row : session_.Query("SELECT change FROM " + Table()).rows) {
        applied_.insert(row[0].text);
      }
      break;
    case Layout::kPlain:
      break;
  }
}

bool History::IsApplied(const Version& version) const {
  if (!exists_) return false;
  switch (layout_) {
    case Layout::kGolangMigrate:  // it keeps the last one only
      if (!up_to_ || up_to_->empty()) return false;
      if (layouts::NumberLess(version.version, *up_to_)) return true;
      return !dirty_ && !layouts::NumberLess(*up_to_, version.version);
    case Layout::kGoose:
      return applied_.contains(WithoutZeros(version.version));
    case Layout::kFlyway: {
      if (version.repeatable) {
        const auto known = checksums_.find(version.name);
        return known != checksums_.end() &&
               known->second == FlywayChecksum(ReadFile(version.up->file));
      }
      if (applied_.contains(version.version)) return true;
      return up_to_ && !layouts::NumberLess(*up_to_, version.version) &&
             up_to_->find('.') == std::string::npos &&
             version.version.find('.') == std::string::npos;
    }
    default:
      return applied_.contains(version.version);
  }
}

void History::Ensure(db::Session& session) {
  if (exists_ || !writable()) return;
  const bool postgres = IsPostgres(session);
  switch (layout_) {
    case Layout::kGolangMigrate:
      session.Execute("CREATE TABLE IF NOT EXISTS " + Table() +
                      (postgres ? " (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"
                                : " (version uint64, dirty bool); CREATE UNIQUE INDEX IF NOT "
                                  "EXISTS version_unique ON schema_migrations (version)"));
      break;
    case Layout::kGoose:
      session.Execute(
          "CREATE TABLE " + Table() +
          (postgres
               ? " (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint "
                 "NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT "
                 "now())"
               : " (id INTEGER PRIMARY KEY AUTOINCREMENT, version_id INTEGER NOT NULL, "
                 "is_applied INTEGER NOT NULL, tstamp TIMESTAMP DEFAULT (datetime('now')))"));
      session.Execute("INSERT INTO " + Table() + " (version_id, is_applied) VALUES (0, " +
                      (postgres ? "true" : "1") + ")");
      break;
    case Layout::kDbmate:
      session.Execute("CREATE TABLE IF NOT EXISTS " + Table() +
                      (postgres ? " (version varchar NOT NULL PRIMARY KEY)"
                                : " (version varchar(128) PRIMARY KEY)"));
      break;
    default:
      break;
  }
  exists_ = true;
}

void History::SetGolang(db::Session& session, const std::string& version, bool dirty) {
  if (layout_ != Layout::kGolangMigrate) return;
  db::Transaction transaction(session, db::Isolation::kDefault, false, true);
  session.Execute((IsPostgres(session) ? "TRUNCATE " : "DELETE FROM ") + Table());
  if (!version.empty() || dirty) {
    session.Query("INSERT INTO " + Table() + " (version, dirty) VALUES ($1, $2)",
                  {db::Value::Integer(version.empty() ? -1 : std::stoll(version)),
                   IsPostgres(session) ? db::Value::Text(dirty ? "true" : "false")
                                       : db::Value::Integer(dirty ? 1 : 0)});
  }
  transaction.Commit();
}

void History::MarkDirty(db::Session& session, const std::string& version) {
  SetGolang(session, version, true);
}

void History::MarkClean(db::Session& session, const std::string& version) {
  SetGolang(session, version, false);
}

void History::Record(db::Session& session, const Version& version, bool up) {
  if (layout_ == Layout::kGoose) {
    const db::Value number = db::Value::Integer(std::stoll(version.version));
    if (up) {
      session.Query(
          "INSERT INTO " + Table() + " (version_id, is_applied) VALUES ($1, $2)",
          {number, IsPostgres(session) ? db::Value::Text("true") : db::Value::Integer(1)});
    } else {
      session.Query("DELETE FROM " + Table() + " WHERE version_id = $1", {number});
    }
  } else if (layout_ == Layout::kDbmate) {
    session.Query(up ? "INSERT INTO " + Table() + " (version) VALUES ($1)"
                     : "DELETE FROM " + Table() + " WHERE version = $1",
                  {db::Value::Text(version.version)});
  }
}

}  // namespace understudy::sql_files
