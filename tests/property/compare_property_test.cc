// Any single change in any column is found and named; equal rows never differ, whatever order they
// were written in. Two tables of one database are compared, the second one by a rename.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "harness/compare/compare.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using testing::Database;
using testing::SqliteFile;

struct Column {
  std::string name;
  std::string type;
  std::vector<std::string> values;  // literals, no two of them the same value
};

const std::vector<Column>& PgColumns() {
  static const std::vector<Column> kColumns = {
      {"n", "numeric", {"NULL", "1", "1.0", "1.00", "'NaN'", "-1", "'Infinity'", "0", "0.0"}},
      {"i", "bigint", {"NULL", "0", "1", "-1", "4294967296", "9223372036854775807"}},
      {"f", "float8", {"NULL", "0", "'-0'", "'NaN'", "5e-324", "0.1", "0.10000000000000002"}},
      {"t", "text", {"NULL", "''", "' '", "'NULL'", "'a'", "'A'", "'a '", "'\\N'", "'(,)'"}},
      {"c", "char(5)", {"NULL", "''", "'a'", "'A'"}},
      {"b", "bytea", {"NULL", "''", "'\\x00'", "'\\x0000'", "'\\xff'"}},
      {"j", "json", {"NULL", "'null'", "'{}'", "'{ }'", "'{\"a\":1}'", "'{\"a\":1.0}'"}},
      {"jb", "jsonb", {"NULL", "'null'", "'{\"a\":1}'", "'{\"a\":1.0}'"}},
      {"a",
       "int[]",
       {"NULL", "'{}'", "'{1,NULL}'", "'{NULL,1}'", "'{{1},{2}}'", "'{1,2}'", "'[0:1]={1,2}'"}},
      {"v", "interval", {"NULL", "'1 day'", "'24:00'", "'30 days'", "'1 month'"}},
      {"z",
       "timestamptz",
       {"NULL", "'infinity'", "'-infinity'", "'2026-03-29 02:30+00'",
        "'2026-03-29 02:30:00.000001+00'", "'0044-03-15 BC'"}},
      {"m", "mood", {"NULL", "'sad'", "'ok'"}}};
  return kColumns;
}

const std::vector<Column>& SqliteColumns() {
  static const std::vector<Column> kColumns = {
      {"a", "", {"NULL", "1", "1.0", "'1'", "x'31'", "''", "x''", "0", "0.0", "'a'", "'a '"}},
      {"b", "", {"NULL", "CAST(x'6100' AS TEXT)", "'a'", "x'6100'", "9007199254740993", "1e999"}}};
  return kColumns;
}

class Pair {
 public:
  Pair(db::Session& session, const std::vector<Column>& columns, bool keyed)
      : session_(session),
        columns_(columns),
        schema_(session.Server().engine == db::Engine::kPostgres ? "public" : "main") {
    for (const std::string table : {"a", "b"}) {
      std::string ddl = "DROP TABLE IF EXISTS " + Name(table) + "; CREATE TABLE " + Name(table) +
                        " (id " + (keyed ? "INTEGER PRIMARY KEY" : "INTEGER");
      for (const Column& column : columns) ddl += ", " + column.name + " " + Type(column);
      session.Execute(ddl + ")");
    }
  }

  std::string Name(const std::string& table) const { return schema_ + "." + table; }

  void Insert(const std::string& table, const std::vector<std::string>& rows) {
    std::string values;
    for (const std::string& row : rows) values += (values.empty() ? "" : ", ") + row;
    if (!rows.empty()) session_.Execute("INSERT INTO " + Name(table) + " VALUES " + values);
  }

  TableComparison Compare(const db::Endpoint& endpoint, bool second) const {
    CompareOptions options;
    options.tables = {Name("a")};
    options.map = {{Name("a"), Name("b")}};
    options.jobs = 1;
    options.second_digest = second;
    return CompareRows(endpoint, endpoint, options).tables.at(0);
  }

 private:
  std::string Type(const Column& column) const {
    return column.type == "mood" ? "public.mood" : column.type;
  }
  db::Session& session_;
  const std::vector<Column>& columns_;
  std::string schema_;
};

std::string RowOf(const std::vector<Column>& columns, int id, const std::vector<int>& picks) {
  std::string row = "(" + std::to_string(id);
  for (std::size_t i = 0; i < columns.size(); ++i) {
    row += ", " + columns[i].values[static_cast<std::size_t>(picks[i]) % columns[i].values.size()];
  }
  return row + ")";
}

// One case: rows on both sides in other orders, then one change on the right.
void FindsOneChange(db::Session& session, const db::Endpoint& endpoint,
                    const std::vector<Column>& columns) {
  const bool keyed = *rc::gen::arbitrary<bool>();
  const bool second = *rc::gen::arbitrary<bool>();
  const int rows = *rc::gen::inRange(1, 8);
  Pair pair(session, columns, keyed);
  const auto pick = rc::gen::container<std::vector<int>>(columns.size(), rc::gen::inRange(0, 1000));
  std::vector<std::vector<int>> picks;
  std::vector<std::string> left;
  for (int id = 0; id < rows; ++id) {
    picks.push_back(*pick);
    left.push_back(RowOf(columns, id, picks.back()));
  }
  std::vector<std::string> right(left.rbegin(), left.rend());
  pair.Insert("a", left);
  pair.Insert("b", right);
  const TableComparison equal = pair.Compare(endpoint, second);
  RC_ASSERT(equal.result == CompareResult::kEqual);
  RC_ASSERT(equal.left_rows == rows);

  const int id = *rc::gen::inRange(0, rows);
  const std::string where = " WHERE id = " + std::to_string(id);
  const int kind = *rc::gen::inRange(0, 4);
  std::string column;
  if (kind == 0) {
    session.Execute("DELETE FROM " + pair.Name("b") + where);
  } else if (kind == 1 && !keyed) {
    session.Execute("INSERT INTO " + pair.Name("b") + " SELECT * FROM " + pair.Name("b") + where);
  } else {
    const auto at = *rc::gen::inRange<std::size_t>(0, columns.size());
    const std::vector<std::string>& values = columns[at].values;
    const std::size_t now =
        static_cast<std::size_t>(picks[static_cast<std::size_t>(id)][at]) % values.size();
    const std::size_t other =
        (now + *rc::gen::inRange<std::size_t>(1, values.size())) % values.size();
    column = columns[at].name;
    session.Execute("UPDATE " + pair.Name("b") + " SET " + column + " = " + values[other] + where);
  }
  const TableComparison found = pair.Compare(endpoint, second);
  RC_ASSERT(found.result == CompareResult::kDifferent);
  if (kind == 0) {
    RC_ASSERT(found.missing == 1 && found.extra == 0 && found.changed == 0);
  } else if (column.empty()) {
    RC_ASSERT(found.missing == 0 && found.extra == 1);
  } else if (keyed) {
    RC_ASSERT(found.changed == 1 && found.missing == 0 && found.extra == 0);
    RC_ASSERT(found.columns == (std::map<std::string, std::int64_t>{{column, 1}}));
    RC_ASSERT(found.differences.at(0).key == (Json{{"id", std::to_string(id)}}));
  } else {
    RC_ASSERT(found.missing == 1 && found.extra == 1);
  }
}

// 20 cases unless RC_PARAMS says otherwise.
const bool kFewCases = setenv("RC_PARAMS", "max_success=20", 0) == 0;

// hard-case 65, 72 to 78, 110, 111
TEST(CompareProperty, FindsAnySingleChangeInPostgres) {
  NEED_POSTGRES();
  ASSERT_TRUE(kFewCases);
  Database database;
  database.Run("CREATE TYPE mood AS ENUM ('sad', 'ok')");
  const auto session = database.Connect();
  EXPECT_TRUE(rc::check([&] { FindsOneChange(*session, database.endpoint(), PgColumns()); }));
}

// hard-case 65, 75, 85, 110
TEST(CompareProperty, FindsAnySingleChangeInSqlite) {
  SqliteFile file;
  const auto session = file.Connect();
  EXPECT_TRUE(rc::check([&] { FindsOneChange(*session, file.endpoint(), SqliteColumns()); }));
}

}  // namespace
}  // namespace understudy::harness
