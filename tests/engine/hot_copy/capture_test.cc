#include "engine/capture/sqlite_capture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "tests/engine/hot_copy/support.h"

namespace understudy::capture {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

// An SQLite file with recording on for every table.
class Recorded : public ::testing::Test {
 protected:
  // `by`: the columns that tell the rows; where empty, the primary key or the rowid does.
  void Begin(const std::string& sql, const std::vector<std::string>& by = {}) {
    session_ = db::Connect(db::Endpoint::Sqlite(folder_.path() / "a.db"), {.create = true});
    session_->Execute(sql);
    schema_ = catalog::ReadSqliteSchema(*session_);
    std::vector<SqliteWatched> watched;
    for (const catalog::SqliteTable& table : schema_.tables) {
      auto key = by.empty() ? table.PrimaryKey() : by;
      if (key.empty()) key = {table.RowidName()};
      watched.push_back({&table, key});
    }
    db::Transaction transaction(*session_, db::Isolation::kDefault, false, true);
    SqliteCapture(*session_).Install(watched, "new.sqlite", "one");
    transaction.Commit();
  }
  // operation table key…, since the last call; keys as typeof:text.
  std::vector<std::string> Log() {
    std::vector<std::string> lines;
    const db::Result result = session_->Query(
        "SELECT operation, table_name, row_data FROM _migration_log WHERE id > ?1 ORDER BY id",
        {db::Value::Integer(seen_)});
    for (const db::Row& row : result.rows) {
      std::string line = row[0].text + " " + row[1].text;
      const auto parts = static_cast<int>(std::ranges::count(row[2].text, ',')) + 1;
      for (int i = 0; i < parts; ++i) {
        const db::Result value =
            session_->Query("SELECT typeof(understudy_key(?1, ?2)), understudy_key(?1, ?2)",
                            {row[2], db::Value::Integer(i)});
        line += " " + value.rows[0][0].text + ":" + value.rows[0][1].text;
      }
      lines.push_back(line);
    }
    seen_ = SqliteCapture(*session_).LastLogId();
    return lines;
  }
  TemporaryFolder folder_;
  std::unique_ptr<db::Session> session_;
  catalog::SqliteSchema schema_;
  std::int64_t seen_ = 0;
};

TEST_F(Recorded, WritesOldAndNewKeys) {
  Begin("CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  session_->Execute(
      "INSERT INTO t VALUES (5, 'a'); UPDATE t SET v = 'b'; UPDATE t SET id = 6; "
      "DELETE FROM t");
  EXPECT_THAT(Log(), ElementsAre("insert t integer:5", "update t integer:5", "update t integer:5",
                                 "update t integer:6", "delete t integer:6"));
}

// hard-case 88, 139: REPLACE removes rows by other unique keys, and no delete trigger fires
TEST_F(Recorded, MarksTheRowsThatReplaceRemoves) {
  Begin(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, email TEXT COLLATE NOCASE UNIQUE, a, b);"
      "CREATE UNIQUE INDEX t_ab ON t(a, abs(b)) WHERE b <> 0;"
      "INSERT INTO t VALUES (1, 'X', 1, 1), (2, 'y', 2, 2), (3, 'z', 3, 3), (4, 'q', 4, 4)");
  session_->Execute("INSERT OR REPLACE INTO t VALUES (9, 'x', 2, -2)");
  EXPECT_THAT(Log(), UnorderedElementsAre("conflict t integer:1", "conflict t integer:2",
                                          "insert t integer:9"));
  EXPECT_EQ(session_->Scalar("SELECT count(*) FROM t").AsInteger(), 3);
  session_->Execute("UPDATE OR REPLACE t SET email = 'Q' WHERE id = 3");
  EXPECT_THAT(Log(), UnorderedElementsAre("conflict t integer:4", "conflict t integer:3",
                                          "update t integer:3"));
  session_->Execute("INSERT INTO t VALUES (3, 'zz', 0, 0) ON CONFLICT (id) DO UPDATE SET a = 77");
  EXPECT_THAT(Log(), ElementsAre("update t integer:3"));
}

// hard-case 139. An INTEGER PRIMARY KEY has no index; where another column tells the rows, those
// that went because theirs was taken were not recorded.
TEST_F(Recorded, MarksTheRowsThatGoByAnIntegerPrimaryKeyThatIsNotTheKey) {
  Begin(
      "CREATE TABLE t(id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE);"
      "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')",
      {"code"});
  session_->Execute("INSERT OR REPLACE INTO t VALUES (1, 'x')");
  EXPECT_THAT(Log(), UnorderedElementsAre("conflict t text:a", "insert t text:x"));
  session_->Execute("UPDATE OR REPLACE t SET id = 2 WHERE code = 'c'");
  EXPECT_THAT(Log(), UnorderedElementsAre("conflict t text:b", "update t text:c"));
  session_->Execute("INSERT INTO t(code) VALUES ('y')");
  EXPECT_THAT(Log(), ElementsAre("insert t text:y"));
}

TEST_F(Recorded, MarksByRowidWhereThereIsNoOtherKey) {
  Begin("CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 1), (2, 2)");
  session_->Execute(
      "INSERT OR REPLACE INTO t(rowid, a) VALUES (2, 'x'); DELETE FROM t WHERE a = 1");
  EXPECT_THAT(Log(), UnorderedElementsAre("conflict t integer:2", "insert t integer:2",
                                          "delete t integer:1"));
}

// hard-case 85, 140
TEST_F(Recorded, KeepsTheStorageClassOfKeys) {
  Begin(
      "CREATE TABLE t(k PRIMARY KEY); CREATE TABLE u(a TEXT, b BLOB, PRIMARY KEY (b, a)) "
      "WITHOUT ROWID");
  session_->Execute(
      "INSERT INTO t VALUES (1), (1.5), ('1'), (x'31'), (NULL), (''), "
      "('a' || char(0) || 'b,c:'), (9223372036854775807), (9e999), (-0.1)");
  const std::vector<std::string> log = Log();
  EXPECT_THAT(log, ElementsAre("insert t integer:1", "insert t real:1.5", "insert t text:1",
                               "insert t blob:1", "insert t null:", "insert t text:",
                               "insert t text:" + std::string("a\0b,c:", 6),
                               "insert t integer:9223372036854775807", "insert t real:Infinity",
                               "insert t real:-0.1"));
  session_->Execute("INSERT INTO u VALUES ('x', x'00ff')");
  EXPECT_THAT(Log(), ElementsAre("insert u blob:" + std::string("\0\xff", 2) + " text:x"));
}

// hard-case 88: cascades, and rows that the user's triggers make or change
TEST_F(Recorded, SeesWhatCascadesAndTriggersDo) {
  Begin(
      "CREATE TABLE p(id INTEGER PRIMARY KEY, n INT DEFAULT 0);"
      "CREATE TABLE c(id INTEGER PRIMARY KEY, p REFERENCES p ON DELETE CASCADE ON UPDATE CASCADE);"
      "CREATE TRIGGER pt AFTER UPDATE ON p BEGIN UPDATE p SET n = n + 1 WHERE id = NEW.id; "
      "INSERT INTO c VALUES (100 + NEW.id, NEW.id); END;"
      "INSERT INTO p VALUES (1, 0), (2, 0); INSERT INTO c VALUES (10, 1), (11, 2)");
  session_->Execute("PRAGMA foreign_keys = ON; UPDATE p SET n = 5 WHERE id = 1");
  EXPECT_THAT(Log(), UnorderedElementsAre("update p integer:1", "update p integer:1",
                                          "insert c integer:101"));
  session_->Execute("DELETE FROM p WHERE id = 1");
  EXPECT_THAT(Log(), UnorderedElementsAre("delete p integer:1", "delete c integer:10",
                                          "delete c integer:101"));
}

// hard-case 140: nothing in the log can fail, so that an outer OR IGNORE swallows no entry
TEST_F(Recorded, IsNotSwallowedByOrIgnore) {
  Begin("CREATE TABLE t(id INTEGER PRIMARY KEY, b BLOB UNIQUE)");
  session_->Execute("INSERT OR IGNORE INTO t VALUES (1, x'00'), (2, x'00'), (3, x'01')");
  std::vector<std::string> inserts;
  for (const std::string& line : Log()) {
    if (line.rfind("insert", 0) == 0) inserts.push_back(line);
  }
  EXPECT_THAT(inserts, ElementsAre("insert t integer:1", "insert t integer:3"));
}

TEST_F(Recorded, GroupsWritesOfALibraryThatAsksForIt) {
  Begin("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  session_->Execute("INSERT INTO t VALUES (1)");
  session_->Execute(
      "BEGIN IMMEDIATE; UPDATE _migration_txn SET last_txn_id = last_txn_id + 1, "
      "txn_id = last_txn_id + 1, first_log_id = coalesce((SELECT max(id) FROM _migration_log), 0);"
      "INSERT INTO t VALUES (2); INSERT INTO t VALUES (3);"
      "UPDATE _migration_txn SET txn_id = NULL; COMMIT; INSERT INTO t VALUES (4)");
  EXPECT_THAT(hot_copy::Rows(*session_, "SELECT txn_id, ordering FROM _migration_log"),
              ElementsAre("n|n|", "i1|i1|", "i1|i2|", "n|n|"));
}

TEST_F(Recorded, LeavesTriggersOfOthersAlone) {
  Begin("CREATE TABLE t(id INTEGER PRIMARY KEY)");
  session_->Execute(
      "CREATE TABLE other(x); CREATE TRIGGER _migration_on_sale AFTER INSERT ON t BEGIN "
      "INSERT INTO other VALUES (NEW.id); END");
  SqliteCapture capture(*session_);
  EXPECT_THAT(capture.LikeOurs(), ElementsAre("trigger _migration_on_sale"));
  session_->Begin(db::Isolation::kDefault, false, true);
  capture.StartDraining(schema_.tables);
  EXPECT_THAT(capture.LikeOurs(), ElementsAre("trigger _migration_on_sale"));
  capture.Remove(false, false);
  session_->Commit();
  session_->Execute("INSERT INTO t VALUES (1)");
  EXPECT_EQ(session_->Scalar("SELECT count(*) FROM other").AsInteger(), 1);
}

// hard-case 141: the rowid of a row that is to be inserted is not known yet; entries of the log
// count among total_changes, and not among changes; no number of a transaction is seen.
TEST_F(Recorded, LetsApplicationsNoticeNoMoreThanTotalChanges) {
  Begin(
      "CREATE TABLE t(v TEXT UNIQUE); CREATE TABLE before(id INT);"
      "CREATE TRIGGER first BEFORE INSERT ON t BEGIN INSERT INTO before VALUES (NEW.rowid); END");
  session_->Execute("INSERT INTO t VALUES ('a')");
  EXPECT_EQ(session_->Scalar("SELECT id FROM before").AsInteger(), -1);
  EXPECT_THAT(Log(), UnorderedElementsAre("insert before integer:1", "insert t integer:1"));
  const std::int64_t before = session_->Scalar("SELECT total_changes()").AsInteger();
  session_->Execute("UPDATE t SET v = 'b'");
  EXPECT_EQ(session_->Scalar("SELECT changes()").AsInteger(), 1);
  EXPECT_EQ(session_->Scalar("SELECT total_changes()").AsInteger(), before + 2);
  EXPECT_THAT(hot_copy::Rows(*session_, "SELECT DISTINCT txn_id FROM _migration_log"),
              ElementsAre("n|"));
}

// hard-case 91, 143
TEST_F(Recorded, RefusesWritesWithATextOfItsOwnAndTakesThemAgain) {
  Begin("CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1)");
  const auto other = db::Connect(db::Endpoint::Sqlite(folder_.path() / "a.db"));
  other->Query("UPDATE t SET v = ?1", {db::Value::Integer(2)});  // prepared, and kept
  SqliteCapture capture(*session_);
  session_->Begin(db::Isolation::kDefault, false, true);
  capture.StartDraining(schema_.tables);
  session_->Commit();
  EXPECT_EQ(capture.Mark(), SqliteMark::kDraining);
  for (const char* sql : {"INSERT OR IGNORE INTO t VALUES (2, 2)",
                          "INSERT OR REPLACE INTO t VALUES "
                          "(1, 2)",
                          "UPDATE t SET v = 3", "DELETE FROM t"}) {
    try {
      other->Query(sql);
      ADD_FAILURE() << sql << " was taken";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("understudy: draining, retry"));
    }
  }
  EXPECT_THROW(other->Query("UPDATE t SET v = ?1", {db::Value::Integer(2)}), Error);
  EXPECT_EQ(other->Scalar("SELECT v FROM t").AsInteger(), 2);  // reads go on
  session_->Begin(db::Isolation::kDefault, false, true);
  EXPECT_FALSE(capture.Remove(false, true).empty());
  EXPECT_TRUE(capture.RefusesWrites());
  capture.Remove(false, false);
  session_->Commit();
  other->Query("UPDATE t SET v = ?1", {db::Value::Integer(4)});
  EXPECT_THAT(hot_copy::Rows(*session_,
                             "SELECT name FROM sqlite_schema WHERE name LIKE '%migration%' "
                             "OR name LIKE '%understudy%'"),
              IsEmpty());
}

}  // namespace
}  // namespace understudy::capture
