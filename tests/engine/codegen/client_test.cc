// The installed header, on real files, with real marks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/support/server.h"
#include "understudy/db.h"

namespace understudy {
namespace {
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClientTest : public ::testing::Test {
 protected:
  ClientTest() { sqlite_.Run("CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, data BLOB)"); }
  void Mark(const std::string& status) {
    sqlite_.Run(
        "CREATE TABLE IF NOT EXISTS _migration_marker (id INTEGER PRIMARY KEY CHECK (id = 0), "
        "status TEXT);"
        "CREATE TABLE IF NOT EXISTS _migration_txn (id INTEGER PRIMARY KEY, txn_id INTEGER, "
        "first_log_id INTEGER, last_txn_id INTEGER, target TEXT);"
        "INSERT OR IGNORE INTO _migration_txn (id, last_txn_id) VALUES (0, 0);"
        "CREATE TABLE IF NOT EXISTS _migration_log (id INTEGER PRIMARY KEY);"
        "REPLACE INTO _migration_marker VALUES (0, '" +
        status + "')");
  }
  std::int64_t Count() {
    return sqlite_.Connect()->Scalar("SELECT count(*) FROM notes").AsInteger();
  }
  std::string File() { return sqlite_.endpoint().file().string(); }

  testing::SqliteFile sqlite_;
};

TEST_F(ClientTest, KeepsEveryKindOfValue) {
  Database db(File());
  const Blob bytes{0, 1, 255};
  TaskTxn(db, [&](Txn& txn) {
    txn.Write("INSERT INTO notes VALUES (?, ?, ?)", 1, std::string("a\0b", 3), bytes);
    txn.Write("INSERT INTO notes VALUES (?, ?, ?)", 2, std::optional<std::string>(), Blob());
  });
  const auto rows = ReadTxn(db, [](Txn& txn) {
    return txn.Query<std::int64_t, std::optional<std::string>, Blob>("SELECT * FROM notes");
  });
  EXPECT_THAT(rows, ElementsAre(std::tuple(1, std::string("a\0b", 3), bytes),
                                std::tuple(2, std::nullopt, Blob())));
}

TEST_F(ClientTest, AThrowInsideTakesEverythingBack) {
  Database db(File());
  EXPECT_THROW(TaskTxn(db,
                       [](Txn& txn) {
                         txn.Write("INSERT INTO notes (body) VALUES (?)", "x");
                         throw std::runtime_error("no");
                       }),
               std::runtime_error);
  EXPECT_EQ(Count(), 0);
  TaskTxn(db, [](Txn& txn) { txn.Write("INSERT INTO notes (body) VALUES (?)", "y"); });
  EXPECT_EQ(Count(), 1);
}

TEST_F(ClientTest, TheSameSqlInsideItsOwnRowsIsAStatementOfItsOwn) {
  Database db(File());
  TaskTxn(db, [](Txn& txn) {
    for (int i = 1; i <= 4; ++i) txn.Write("INSERT INTO notes (id) VALUES (?)", i);
  });
  const std::string sql = "SELECT id FROM notes WHERE id > ? ORDER BY id";
  for (int time = 0; time < 2; ++time) {
    const auto pairs = ReadTxn(db, [&](Txn& txn) {
      std::vector<std::pair<int, int>> found;
      txn.ForEach(
          sql,
          [&](sqlite3_stmt* outer) {
            const int id = Txn::Column<int>(outer, 0);
            for (const auto& [inner] : txn.Query<int>(sql, id)) found.emplace_back(id, inner);
          },
          1);
      return found;
    });
    EXPECT_THAT(pairs, ElementsAre(std::pair(2, 3), std::pair(2, 4), std::pair(3, 4)));
  }
}

// hard-case 91
TEST_F(ClientTest, WhileDrainingAWriteIsADistinctRetryableErrorAndReadsGoOn) {
  Database db(File());
  Mark("draining");
  try {
    TaskTxn(db, [](Txn& txn) { txn.Write("INSERT INTO notes (body) VALUES ('x')"); });
    FAIL() << "it was written";
  } catch (const Draining& error) {
    EXPECT_TRUE(error.retryable());
    EXPECT_THAT(error.what(), HasSubstr("understudy: draining, retry"));
  }
  const auto rows =
      ReadTxn(db, [](Txn& txn) { return txn.Query<std::int64_t>("SELECT count(*) FROM notes"); });
  EXPECT_THAT(rows, ElementsAre(std::tuple(0)));
  Mark("recording");
  TaskTxn(db, [](Txn& txn) { txn.Write("INSERT INTO notes (body) VALUES ('x')"); });
  EXPECT_EQ(Count(), 1);
}

// hard-case 143: a refusal trigger's constraint error arrives as what it is.
TEST_F(ClientTest, ARefusalTriggerIsDrainingToo) {
  Database db(File());
  sqlite_.Run(
      "CREATE TRIGGER refuse BEFORE INSERT ON notes BEGIN "
      "SELECT RAISE(ABORT, 'understudy: draining, retry'); END");
  EXPECT_THROW(TaskTxn(db, [](Txn& txn) { txn.Write("INSERT INTO notes (body) VALUES ('x')"); }),
               Draining);
}

TEST_F(ClientTest, RefusesEverythingOnAFileThatIsStillMigrating) {
  Database db(File());
  sqlite_.Run(
      "CREATE TABLE _migration_status (id INTEGER PRIMARY KEY, status TEXT);"
      "INSERT INTO _migration_status VALUES (0, 'migrating')");
  EXPECT_THROW(ReadTxn(db, [](Txn&) {}), Migrating);
  EXPECT_THROW(TaskTxn(db, [](Txn&) {}), Migrating);
  sqlite_.Run("UPDATE _migration_status SET status = 'ready'");
  TaskTxn(db, [](Txn& txn) { txn.Write("INSERT INTO notes (body) VALUES ('x')"); });
  EXPECT_EQ(Count(), 1);
}

TEST_F(ClientTest, WhileRecordingTheWritesOfOneTransactionAreOneGroup) {
  Mark("recording");
  sqlite_.Run(
      "CREATE TABLE seen (txn INTEGER);"
      "CREATE TRIGGER record AFTER INSERT ON notes BEGIN INSERT INTO seen VALUES "
      "((SELECT txn_id FROM _migration_txn WHERE id = 0)); END");
  Database db(File());
  TaskTxn(db, [](Txn& txn) {
    txn.Write("INSERT INTO notes (body) VALUES ('a')");
    txn.Write("INSERT INTO notes (body) VALUES ('b')");
  });
  sqlite_.Run("INSERT INTO notes (body) VALUES ('somebody else')");
  TaskTxn(db, [](Txn& txn) { txn.Write("INSERT INTO notes (body) VALUES ('c')"); });
  EXPECT_THAT(ReadTxn(db,
                      [](Txn& txn) {
                        return txn.Query<std::optional<std::int64_t>>(
                            "SELECT txn FROM seen ORDER BY rowid");
                      }),
              ElementsAre(std::tuple(1), std::tuple(1), std::tuple(std::nullopt), std::tuple(2)));
}

TEST_F(ClientTest, AValueOfAnotherTypeThanPromisedIsAnErrorWithItsColumn) {
  Database db(File());
  sqlite_.Run("INSERT INTO notes (body) VALUES (x'00')");
  try {
    ReadTxn(db, [](Txn& txn) { return txn.Query<std::string>("SELECT body FROM notes"); });
    FAIL() << "it was converted";
  } catch (const DbError& error) {
    EXPECT_THAT(error.what(), HasSubstr("body holds BLOB, not TEXT"));
  }
}

TEST_F(ClientTest, ANumberThatDoesNotFitIsAnErrorAndAFloatStaysWhatItIs) {
  Database db(File());
  TaskTxn(db, [](Txn& txn) {
    Insert insert("INSERT INTO", "notes");
    insert.Set("id", std::int64_t{1} << 40);
    insert.Set("body", 1.5F);
    insert.Set("data", std::string_view("text"));
    insert.Run(txn);
  });
  const auto read = [&](auto&& query) { return ReadTxn(db, query); };
  EXPECT_THROW(read([](Txn& txn) { return txn.Query<int>("SELECT id FROM notes"); }), DbError);
  EXPECT_EQ(sqlite_.Connect()->Scalar("SELECT body || data FROM notes").text, "1.5text");
}

TEST_F(ClientTest, AWriteInReadTxnIsRefused) {
  Database db(File());
  EXPECT_THROW(ReadTxn(db, [](Txn& txn) { txn.Write("DELETE FROM notes"); }), DbError);
}

}  // namespace
}  // namespace understudy
