#include "engine/sql_files/observation.h"

#include <set>

#include "engine/base/error.h"
#include "engine/db/identifier.h"
#include "engine/db/script.h"

namespace understudy::sql_files {
namespace {

// Locks on what others can see: what the transaction itself has made is not in this session's
// catalog, and is left out with it.
constexpr const char* kLocksSql = R"sql(
SELECT c.oid::bigint, n.nspname, c.relname, l.mode
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.pid = $1::int AND l.locktype = 'relation' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'understudy')
ORDER BY 2, 3, 4)sql";

constexpr const char* kFileNumbersSql = R"sql(
SELECT c.oid::bigint, coalesce(pg_relation_filenode(c.oid), 0)::bigint
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'understudy'))sql";

bool CanRewrite(const std::string& sql) {
  const std::string word = db::FirstWords(sql, db::Engine::kPostgres, 1);
  return word == "ALTER" || word == "CLUSTER" || word == "VACUUM" || word == "REFRESH" ||
         word == "DO" || word == "CALL" || word == "SELECT";
}

std::string Shortened(const std::string& sql) {
  constexpr std::size_t kLongest = 300;
  return sql.size() <= kLongest ? sql : sql.substr(0, kLongest) + "…";
}

}  // namespace

Observation::Observation(const core::Context& context, const db::Endpoint& endpoint,
                         db::Session& watched)
    : context_(context), watched_(watched) {
  if (endpoint.engine() != db::Engine::kPostgres) return;
  Try([&] { own_ = db::Connect(endpoint, {.application_name = "understudy-engine observer"}); });
}

template <typename Work>
void Observation::Try(Work work) {
  try {
    work();
  } catch (const Error& error) {  // to look is not worth a failed migration
    own_.reset();
    context_.Log("warning", "the migration's locks are not recorded from here on: " +
                                std::string(error.what()));
  }
}

std::int64_t Observation::WalPosition() {
  return own_->Scalar("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint").AsInteger();
}

void Observation::BeginFile() {
  if (!own_) return;
  Try([&] {
    file_numbers_.clear();
    for (const db::Row& row : own_->Query(kFileNumbersSql).rows) {
      file_numbers_[row[0].AsInteger()] = row[1].AsInteger();
    }
  });
}

void Observation::BeforeStatement() {
  if (own_) Try([&] { wal_before_ = WalPosition(); });
  sent_ = SteadyClock::now();
}

void Observation::AfterStatement(const std::string& sql, const std::string& file, int line,
                                 Json& event) {
  if (!own_) return;
  const auto now = SteadyClock::now();
  Try([&] {
    event["wal_bytes"] = WalPosition() - wal_before_;
    event["locks"] = Json::array();
    std::string exclusive;
    std::map<std::int64_t, std::string> names;
    const auto locks = own_->Query(kLocksSql, {db::Value::Integer(watched_.BackendPid())});
    for (const db::Row& row : locks.rows) {
      const std::string object = db::TableName{row[1].text, row[2].text}.Display();
      names[row[0].AsInteger()] = object;
      if (row[3].text == "AccessExclusiveLock") {
        exclusive += (exclusive.empty() ? "" : ",") + row[0].text;
      }
      const auto [it, is_new] =
          held_.try_emplace({object, row[3].text}, Held{sent_, now, Shortened(sql), file, line});
      if (is_new) event["locks"].push_back({{"object", object}, {"mode", row[3].text}});
    }
    event["rewritten"] = Json::array();
    if (!CanRewrite(sql)) return;
    db::Result numbers;
    if (watched_.InTransaction()) {
      if (exclusive.empty()) return;
      numbers = watched_.Query(
          "SELECT c.oid::pg_catalog.int8, coalesce(pg_catalog.pg_relation_filenode(c.oid), "
          "0)::pg_catalog.int8 FROM pg_catalog.pg_class c WHERE c.oid IN (" +
          exclusive + ")");
    } else {
      numbers = own_->Query(kFileNumbersSql);
    }
    for (const db::Row& row : numbers.rows) {
      const auto before = file_numbers_.find(row[0].AsInteger());
      if (before == file_numbers_.end() || before->second == row[1].AsInteger()) continue;
      before->second = row[1].AsInteger();
      std::string name = names[row[0].AsInteger()];
      if (name.empty()) {
        const auto found = own_->Query(
            "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = "
            "c.relnamespace WHERE c.oid = $1::bigint",
            {row[0]});
        if (found.rows.empty()) continue;
        name = db::TableName{found.rows[0][0].text, found.rows[0][1].text}.Display();
      }
      event["rewritten"].push_back(name);
    }
  });
}

void Observation::TransactionEnded() {
  const auto ended = SteadyClock::now();
  const auto ms = [&](SteadyClock::time_point from) {
    return std::chrono::duration<double, std::milli>(ended - from).count();
  };
  for (const auto& [lock, held] : held_) {
    context_.Tell("held", {{"object", lock.first},
                           {"mode", lock.second},
                           {"ms", ms(held.asked)},
                           {"seen_ms", ms(held.seen)},
                           {"statement", held.statement},
                           {"file", held.file},
                           {"line", held.line}});
  }
  held_.clear();
}

}  // namespace understudy::sql_files
