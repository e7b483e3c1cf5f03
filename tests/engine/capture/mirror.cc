#include "tests/engine/capture/mirror.h"

#include "engine/base/error.h"

namespace understudy::capture::testing {
namespace {

using db::QuoteIdentifier;

// Rows as text and how often they are there.
std::string Rows(const CapturedTable& table, const std::string& name, bool watched) {
  std::string list;
  for (const ColumnSource& source : table.mapping.columns) {
    list +=
        (list.empty() ? "" : ", ") + (watched ? source.expression : QuoteIdentifier(source.column));
  }
  return "SELECT (ROW(" + list + "))::text COLLATE \"C\", count(*) FROM " + name + " GROUP BY 1";
}

}  // namespace

RowMapping SameShape(const catalog::Table& table) {
  RowMapping mapping;
  for (const catalog::Column& column : table.columns) {
    if (column.generated != 0) continue;
    mapping.columns.push_back({column.name, QuoteIdentifier(column.name), true});
  }
  if (table.key) {
    mapping.key = table.key->columns;
    mapping.mirror_key = table.key->columns;
    mapping.key_equals = table.key->equals;
    mapping.mirror_equals = table.key->equals;
    mapping.mirror_collate.resize(mapping.key.size());
  }
  return mapping;
}

Mirrored::Mirrored(const understudy::testing::Database& database,
                   const std::vector<std::string>& names, const std::string& schema)
    : session_(database.Connect()) {
  session_->Execute("CREATE SCHEMA IF NOT EXISTS understudy");
  const auto find = [](const std::vector<catalog::Table>& all, const std::string& name) {
    for (const catalog::Table& table : all) {
      if (table.name.name == name) return table;
    }
    throw Error(ErrorKind::kInternal, "no table " + name);
  };
  const auto mains = catalog::ReadTables(*session_, {schema});
  const auto mirrors = catalog::ReadTables(*session_, {"mirror"});
  for (const std::string& name : names) {
    CapturedTable table;
    const catalog::Table main = find(mains, name);
    table.watched = main.oid;
    table.mirror = find(mirrors, name).oid;
    table.mapping = SameShape(main);
    tables_.push_back(std::move(table));
  }
}

void Mirrored::Start() {
  {
    db::Transaction transaction(*session_);
    Install(*session_, tables_);
    transaction.Commit();
  }
  db::Transaction transaction(*session_, db::Isolation::kRepeatableRead);
  for (const CapturedTable& table : tables_) session_->Execute(InsertSql(*session_, table));
  transaction.Commit();
}

ReplayResult Mirrored::ReplayOne(std::size_t table, const ReplayOptions& options) {
  db::Transaction transaction(*session_, db::Isolation::kRepeatableRead);
  ReplayResult result = Replay(*session_, tables_.at(table), options);
  transaction.Commit();
  return result;
}

std::vector<ReplayResult> Mirrored::ReplayAll(const ReplayOptions& options) {
  std::vector<ReplayResult> results;
  for (std::size_t i = 0; i < tables_.size(); ++i) {
    for (;;) {
      results.push_back(ReplayOne(i, options));
      if (results.back().entries == 0 || !results.back().refused.empty()) break;
    }
  }
  return results;
}

std::int64_t Mirrored::PendingNow() {
  std::int64_t all = 0;
  for (const std::int64_t count : Pending(*session_, tables_)) all += count;
  return all;
}

MirrorComparison Mirrored::Compare(std::size_t table) {
  db::Transaction transaction(*session_, db::Isolation::kRepeatableRead, true);
  return CompareMirror(*session_, tables_.at(table));
}

std::string Mirrored::Difference(std::size_t table) {
  const CapturedTable& one = tables_.at(table);
  const auto main = catalog::NameOf(*session_, one.watched);
  const auto mirror = catalog::NameOf(*session_, one.mirror);
  const std::string left = Rows(one, main->Quoted(), true);
  const std::string right = Rows(one, mirror->Quoted(), false);
  const db::Result found =
      session_->Query("(SELECT 'only main', x.* FROM (" + left + " EXCEPT " + right +
                      ") AS x LIMIT 5) UNION ALL (SELECT 'only mirror', x.* FROM (" + right +
                      " EXCEPT " + left + ") AS x LIMIT 5)");
  std::string text;
  for (const db::Row& row : found.rows) {
    text += row[0].text + " " + row[1].text + " x" + row[2].text + "\n";
  }
  return text;
}

}  // namespace understudy::capture::testing
