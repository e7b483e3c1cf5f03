#include "harness/schema/violations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "engine/base/error.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::Contains;
using ::testing::Pair;

// Check → the value that was refused in its name; "" where none was. As the probe of `constraints`
// does it: everything else of the row is made to fit.
std::map<std::string, std::string> Broken(db::Session& session) {
  const Schema schema = ReadSchema(session);
  const bool postgres = schema.engine == db::Engine::kPostgres;
  std::map<std::string, std::string> broken;
  for (const SchemaTable& table : schema.tables) {
    const ValueMaker maker(table);
    Random random(3);
    std::int64_t serial = 0;
    for (const SchemaCheck& check : table.checks) {
      const std::string name = check.name.empty() ? check.expression : check.name;
      std::string& found = broken[name];
      for (const auto& [forced, value] : ViolationCandidates(table, check)) {
        std::string columns;
        std::string marks;
        db::Params params;
        ++serial;
        for (const SchemaColumn& column : table.columns) {
          if (column.generated) continue;
          params.push_back(column.name == forced ? value
                                                 : maker.Make(column, random, serial, false));
          columns += (columns.empty() ? "" : ", ") + db::QuoteIdentifier(column.name);
          marks += (marks.empty() ? "" : ", ") +
                   (postgres ? "CAST($" + std::to_string(params.size()) + " AS " + column.type + ")"
                             : "?" + std::to_string(params.size()));
        }
        try {
          session.Query(
              "INSERT INTO " + table.name.Quoted() + " (" + columns + ") VALUES (" + marks + ")",
              params);
        } catch (const Error& error) {
          if (error.message().find(postgres ? '"' + name + '"' : name) == std::string::npos) {
            continue;
          }
          found = forced + "=" + value.TextOr("NULL");
          break;
        }
      }
    }
  }
  return broken;
}

TEST(Violations, AreFoundForTheChecksThatPeopleWrite) {
  NEED_POSTGRES();
  const testing::Database database;
  database.Run(R"sql(
CREATE DOMAIN percent AS numeric(5,2) CONSTRAINT percent_range CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE t (
  id int PRIMARY KEY,
  state text CONSTRAINT in_list CHECK (state IN ('new', 'paid')),
  one_letter char(1) CONSTRAINT one_of_two CHECK (one_letter IN ('Y', 'N')),
  total numeric(8,2) CONSTRAINT not_negative CHECK (total >= 0),
  small int2 CONSTRAINT at_most CHECK (small < 32767),
  code text CONSTRAINT three_long CHECK (length(code) = 3),
  zip varchar(5) CONSTRAINT digits CHECK (zip ~ '^[0-9]{5}$'),
  mail text CONSTRAINT has_at CHECK (mail LIKE '%@%'),
  since date, until date,
  CONSTRAINT in_order CHECK (since <= until),
  feeling mood CONSTRAINT only_happy CHECK (feeling <> 'sad'),
  yes bool CONSTRAINT must_be CHECK (yes),
  share percent,
  doc jsonb CONSTRAINT an_object CHECK (jsonb_typeof(doc) = 'object'),
  tags text[] CONSTRAINT has_tags CHECK (cardinality(tags) > 0),
  note text CONSTRAINT needed CHECK (note IS NOT NULL),
  lower_case text CONSTRAINT lower_only CHECK (lower_case = lower(lower_case))
);
CREATE TABLE idle (a int CONSTRAINT always CHECK (a = a OR a IS NULL));
)sql");
  const auto session = database.Connect();
  for (const auto& [check, value] : Broken(*session)) {
    // What nothing violates stays not checked: no value is made up for it.
    EXPECT_EQ(value.empty(), check == "always") << check << " " << value;
  }
}

TEST(Violations, AreFoundOnSqlite) {
  const testing::SqliteFile file;
  file.Run(R"sql(
CREATE TABLE t (
  id INTEGER PRIMARY KEY,
  state TEXT CHECK ( state IN ('new', 'paid') ),
  total REAL CONSTRAINT not_negative CHECK (total >= 0),
  code TEXT CHECK (length(code) <= 3)
);
)sql");
  const auto session = file.Connect();
  const auto broken = Broken(*session);
  EXPECT_EQ(broken.size(), 3U);
  EXPECT_THAT(broken, Contains(Pair("state IN ('new', 'paid')", "state=?")));
  EXPECT_THAT(broken, Contains(Pair("not_negative", "total=-1")));
  EXPECT_THAT(broken, Contains(Pair("length(code) <= 3", "code=xxxx")));
}

}  // namespace
}  // namespace understudy::harness
