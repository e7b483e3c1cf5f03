// Random pairs of schemas, random histories of writes between the units of the copy and from
// another process: in the end the new file holds what the old one does, by an oracle of its own.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "harness/compare/compare.h"
#include "tests/engine/hot_copy/support.h"

namespace understudy::hot_copy {
namespace {

// kOther, kOtherInteger: the new table's key is another column than the old one's, which goes.
// kLooser, kNumber: the new key takes values for the same that the old one tells apart ('k1' and
// 'K1', '1' and '01'); kStricter: the other way round.
enum class Key {
  kInteger,
  kAuto,
  kText,
  kTextAssigned,
  kPair,
  kBare,
  kOther,
  kOtherInteger,
  kLooser,
  kNumber,
  kStricter,
  kEnd
};

struct Table {
  Key key = Key::kInteger;
  bool unique = false;          // c0 is UNIQUE, COLLATE NOCASE
  int parent = -1;              // an earlier table, by its key; -1 = none
  bool renamed = false;         // the table
  bool column_renamed = false;  // c1
  bool dropped = false;         // c2
  bool converted = false;       // c1: TEXT becomes INTEGER
  bool added = false;           // another column, NOT NULL DEFAULT 7
  bool trigger = false;         // the application's own, on the old table
  bool audited = false;         // the new table has a trigger that writes to another one
  bool seeded = false;          // the schema has rows, whose keys old rows may have
};

struct Write {
  int table;
  int kind;
  int a;
  int b;
};

struct Case {
  std::vector<Table> tables;
  std::vector<Write> before;
  std::vector<Write> during;
  bool wal = false;
  bool triggers_on_replay = false;
  int chunk = 3;
};

Case Make(std::uint64_t seed, int writes) {
  Random random(seed);
  Case made;
  const auto tables = random.Uniform(1, 4);
  for (int i = 0; i < tables; ++i) {
    Table table;
    table.key = static_cast<Key>(random.Uniform(0, static_cast<int>(Key::kEnd) - 1));
    table.unique = random.Chance(0.5);
    table.renamed = random.Chance(0.3);
    table.column_renamed = random.Chance(0.4);
    table.dropped = random.Chance(0.3);
    table.converted = random.Chance(0.2);
    table.added = random.Chance(0.5);
    table.trigger = random.Chance(0.3);
    table.audited = random.Chance(0.3);
    table.seeded = table.key <= Key::kAuto && random.Chance(0.3);
    if (i > 0 && random.Chance(0.7)) {
      const auto parent = static_cast<int>(random.Uniform(0, i - 1));
      const Key key = made.tables[static_cast<std::size_t>(parent)].key;
      if (key < Key::kPair) table.parent = parent;
    }
    made.tables.push_back(table);
  }
  const auto write = [&] {
    return Write{static_cast<int>(random.Uniform(0, tables - 1)),
                 static_cast<int>(random.Uniform(0, 7)), static_cast<int>(random.Uniform(0, 12)),
                 static_cast<int>(random.Uniform(0, 9))};
  };
  for (int i = 0; i < 30; ++i) made.before.push_back(write());
  for (Write& one : made.before) one.kind = 0;
  for (int i = 0; i < writes; ++i) made.during.push_back(write());
  made.wal = random.Chance(0.5);
  made.triggers_on_replay = random.Chance(0.3);
  made.chunk = static_cast<int>(random.Uniform(1, 8));
  return made;
}

std::string Old(int i) { return "t" + std::to_string(i); }
std::string New(const Case& c, int i) {
  return (c.tables[static_cast<std::size_t>(i)].renamed ? "n" : "t") + std::to_string(i);
}

bool IsText(Key key) { return key == Key::kText || key == Key::kTextAssigned; }

std::string OldSql(const Case& c) {
  std::string sql;
  for (int i = 0; i < static_cast<int>(c.tables.size()); ++i) {
    const Table& t = c.tables[static_cast<std::size_t>(i)];
    const std::string keys[] = {"id INTEGER PRIMARY KEY",
                                "id INTEGER PRIMARY KEY AUTOINCREMENT",
                                "code TEXT PRIMARY KEY",
                                "code TEXT NOT NULL PRIMARY KEY",
                                "a INT, b TEXT COLLATE NOCASE",
                                "x",
                                "id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE",
                                "id INTEGER PRIMARY KEY, num INTEGER NOT NULL UNIQUE",
                                "code TEXT NOT NULL PRIMARY KEY",
                                "code TEXT NOT NULL PRIMARY KEY",
                                "code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY"};
    sql += "CREATE TABLE " + Old(i) + "(" + keys[static_cast<int>(t.key)] + ", c0 TEXT" +
           (t.unique ? " COLLATE NOCASE UNIQUE" : "") + ", c1 TEXT, c2 BLOB";
    if (t.parent >= 0) {
      const Key key = c.tables[static_cast<std::size_t>(t.parent)].key;
      sql += std::string(", p ") + (IsText(key) ? "TEXT" : "INTEGER") + " REFERENCES " +
             Old(t.parent) + " ON DELETE SET NULL ON UPDATE CASCADE";
    }
    sql += t.key == Key::kPair ? ", PRIMARY KEY (b, a)) WITHOUT ROWID;" : ");";
    if (t.trigger) {
      sql += "CREATE TRIGGER tr" + std::to_string(i) + " AFTER UPDATE ON " + Old(i) +
             " BEGIN UPDATE " + Old(i) + " SET c2 = x'ee' WHERE c0 = NEW.c1; END;";
    }
  }
  return sql;
}

std::string NewSql(const Case& c) {
  std::string sql;
  for (int i = 0; i < static_cast<int>(c.tables.size()); ++i) {
    const Table& t = c.tables[static_cast<std::size_t>(i)];
    const std::string keys[] = {"id INTEGER PRIMARY KEY",
                                "id INTEGER PRIMARY KEY AUTOINCREMENT",
                                "code TEXT PRIMARY KEY",
                                "id INTEGER PRIMARY KEY, code TEXT UNIQUE",
                                "a INT, b TEXT COLLATE NOCASE",
                                "x",
                                "code TEXT NOT NULL PRIMARY KEY",
                                "num INTEGER PRIMARY KEY",
                                "code TEXT COLLATE NOCASE NOT NULL PRIMARY KEY",
                                "code INTEGER PRIMARY KEY",
                                "code TEXT NOT NULL PRIMARY KEY"};
    sql += "CREATE TABLE " + New(c, i) + "(" +
           (t.renamed ? " -- @renamed-from " + Old(i) + "\n" : "") + keys[static_cast<int>(t.key)] +
           ",\n";
    if (t.added) sql += "added INT NOT NULL DEFAULT 7,\n";
    sql += std::string(t.column_renamed ? "d1" : "c1") + (t.converted ? " INTEGER" : " TEXT") +
           "," + (t.column_renamed ? " -- @renamed-from c1" : "") + "\n";
    if (!t.dropped) sql += "c2 BLOB,\n";
    if (t.parent >= 0) {
      const Key key = c.tables[static_cast<std::size_t>(t.parent)].key;
      sql += std::string("p ") + (key == Key::kText ? "TEXT" : "INTEGER") + " REFERENCES " +
             New(c, t.parent) + " ON DELETE SET NULL,\n";
    }
    sql += std::string("c0 TEXT") + (t.unique ? " COLLATE NOCASE UNIQUE" : "");
    sql += t.key == Key::kPair    ? ", PRIMARY KEY (b, a)) WITHOUT ROWID;"
           : t.key == Key::kOther ? ") WITHOUT ROWID;"
                                  : ");";
    sql += "CREATE INDEX i" + std::to_string(i) + " ON " + New(c, i) + "(c0);";
    if (t.audited) {
      sql += "CREATE TABLE audit" + std::to_string(i) + "(what); CREATE TRIGGER at" +
             std::to_string(i) + " AFTER UPDATE ON " + New(c, i) + " BEGIN INSERT INTO audit" +
             std::to_string(i) + " VALUES (NEW.c0); END;";
    }
    if (t.seeded) {
      sql += "INSERT INTO " + New(c, i) + "(id, c0) VALUES (3, 'seed three'), (5, 'seed five');";
    }
  }
  return sql;
}

std::string Apply(const Case& c, const Write& w) {
  const Table& t = c.tables[static_cast<std::size_t>(w.table)];
  const std::string table = Old(w.table);
  const std::string n = std::to_string(w.a);
  const std::string other = std::to_string(w.b);
  std::string columns;
  std::string values;
  std::string where;
  std::string key_change;
  std::string ghost;  // comes and goes, and is for the new table another row's like
  switch (t.key) {
    case Key::kInteger:
    case Key::kAuto:
      columns = "id";
      values = w.a == 0 ? "NULL" : n;
      where = "id = " + n;
      key_change = "id = " + other;
      break;
    case Key::kText:
    case Key::kTextAssigned:
      columns = "code";
      values = w.a == 0 && t.key == Key::kText ? "NULL" : "'k" + n + "'";
      where = "code = 'k" + n + "'";
      key_change = "code = 'k" + other + "'";
      break;
    case Key::kPair:
      columns = "a, b";
      values = std::to_string(w.a % 3) + ", '" + (w.b % 2 == 0 ? "K" : "k") + n + "'";
      where = "b = 'k" + n + "'";
      key_change = "b = 'K" + other + "', a = " + std::to_string(w.b % 3);
      break;
    case Key::kLooser:
    case Key::kNumber:
    case Key::kStricter: {
      const std::string prefix = t.key == Key::kNumber                     ? ""
                                 : t.key == Key::kStricter && w.b % 2 == 0 ? "K"
                                                                           : "k";
      columns = "code";
      values = "'" + prefix + n + "'";
      where = "code = '" + prefix + n + "'";
      key_change = "code = '" + prefix + other + "'";
      if (t.key != Key::kStricter && w.b % 3 == 0) {
        const std::string like = (t.key == Key::kNumber ? "'0" : "'K") + n + "'";
        ghost = "BEGIN IMMEDIATE; INSERT INTO " + table + "(code) VALUES (" + like +
                "); DELETE FROM " + table + " WHERE code = " + like + "; COMMIT; ";
      }
      break;
    }
    case Key::kOther:
    case Key::kOtherInteger: {
      const bool text = t.key == Key::kOther;
      const std::string name = text ? "code" : "num";
      const auto key = [&](int number) {
        return text ? "'k" + std::to_string(number) + "'" : std::to_string(number);
      };
      columns = "id, " + name;
      values = (w.a % 4 == 0 ? "NULL" : other) + ", " + key(w.a);
      where = name + " = " + key(w.a);
      key_change = w.b % 2 == 0 ? "id = " + other : name + " = " + key(w.b);
      break;
    }
    default:
      columns = "x";
      values = n;
      where = "x = " + n;
      key_change = "rowid = " + other;
  }
  columns += ", c0, c1, c2";
  values += ", '" + std::string(w.b % 2 == 0 ? "u" : "U") + other + "', '" + other +
            (w.b == 3 ? "x" : "") + "', x'0" + other + "'";
  if (t.parent >= 0) {
    const Key key = c.tables[static_cast<std::size_t>(t.parent)].key;
    const std::string parent = std::to_string(1 + (w.a + w.b) % 12);
    columns += ", p";
    values += w.b == 0 ? ", NULL" : IsText(key) ? ", 'k" + parent + "'" : ", " + parent;
  }
  switch (w.kind) {
    case 0:
      return ghost + "INSERT INTO " + table + "(" + columns + ") VALUES (" + values + ")";
    case 1:
      return ghost + "INSERT OR REPLACE INTO " + table + "(" + columns + ") VALUES (" + values +
             ")";
    case 2:
      return ghost + "UPDATE " + table + " SET c1 = '" + other + "' WHERE " + where;
    case 3:
      return ghost + "UPDATE OR REPLACE " + table + " SET c0 = 'u" + other + "' WHERE " + where;
    case 4:
      return ghost + "UPDATE OR REPLACE " + table + " SET " + key_change + " WHERE " + where;
    case 5:
      return ghost + "DELETE FROM " + table + " WHERE " + where;
    case 6:
      return ghost + "INSERT INTO " + table + "(" + columns + ") VALUES (" + values +
             ") ON CONFLICT DO UPDATE SET c1 = c1 || '+'";
    default:
      return ghost + "DELETE FROM " + table + " WHERE c0 = 'u" + other + "'";
  }
}

// One connection of the application's; what the schema refuses is refused.
void Do(db::Session& session, const std::string& sql) {
  try {
    session.Execute(sql);
  } catch (const Error& error) {
    session.Rollback();
    if (error.kind() != ErrorKind::kConstraint && error.kind() != ErrorKind::kConflict) throw;
  }
}

// The rows of one table as they must be: old names and references by the parent's own key.
std::string Oracle(const Case& c, int i, bool old) {
  const Table& t = c.tables[static_cast<std::size_t>(i)];
  const std::string keys[] = {
      "t.id",  "t.id",   "t.code", "t.code", "t.a, t.b",
      "t.x",   "t.code", "t.num",  "t.code", old ? "CAST(t.code AS INTEGER)" : "t.code",
      "t.code"};
  // Beside seeds a row may have got another key: it is known by the rest of it.
  std::string sql = "SELECT " + (t.seeded ? "0" : keys[static_cast<int>(t.key)]) + ", t.c0, ";
  sql += old ? std::string(t.converted ? "CASE WHEN t.c1 NOT GLOB '*[^0-9]*' AND t.c1 <> '' THEN "
                                         "CAST(t.c1 AS INTEGER) ELSE t.c1 END"
                                       : "t.c1")
             : std::string(t.column_renamed ? "t.d1" : "t.c1");
  if (!t.dropped) sql += ", t.c2";
  std::string join;
  if (t.parent >= 0) {
    const Table& parent = c.tables[static_cast<std::size_t>(t.parent)];
    const Key key = parent.key;
    if (parent.seeded) {
      sql += ", p.c0, p.c1" + std::string(!old && parent.column_renamed ? " AS c1" : "");
      if (!old && parent.column_renamed) sql.replace(sql.rfind("p.c1"), 4, "p.d1");
      if (parent.converted) sql.resize(sql.rfind(", p."));  // as text or as a number
      join = " LEFT JOIN " + (old ? Old(t.parent) : New(c, t.parent)) + " p ON p.id = t.p";
    } else if (key == Key::kTextAssigned && !old) {
      sql += ", p.code";
      join = " LEFT JOIN " + New(c, t.parent) + " p ON p.id = t.p";
    } else {
      sql += ", t.p";
    }
  }
  if (t.added) sql += old ? ", 7" : ", t.added";
  sql += " FROM " + (old ? Old(i) : New(c, i)) + " t" + join;
  if (t.seeded && !old) sql += " WHERE t.c0 IS NULL OR t.c0 NOT LIKE 'seed %'";
  return sql;
}

// Whether the rows of the new file are what they must be; `show` tells of those that are not.
bool Agrees(const Case& c, const Folder& folder, bool show) {
  const auto old = folder.Old();
  const auto now = folder.New();
  for (int i = 0; i < static_cast<int>(c.tables.size()); ++i) {
    auto expected = Rows(*old, Oracle(c, i, true));
    auto actual = Rows(*now, Oracle(c, i, false));
    std::ranges::sort(expected);
    std::ranges::sort(actual);
    if (expected == actual) continue;
    if (show) RC_LOG() << OldSql(c) << "\n" << NewSql(c) << "\n" << Old(i) << "\n";
    return false;
  }
  return true;
}

// What `understudy compare` can say of, without being told of new keys.
bool IsComparable(const Table& table) {
  return !table.seeded && table.key != Key::kTextAssigned && table.key < Key::kOther;
}

// `understudy compare`, of the tables whose rows keep their keys.
harness::CompareResult Compared(const Case& c, const Folder& folder) {
  harness::CompareOptions options;
  options.common_columns = true;
  options.jobs = 1;
  for (int i = 0; i < static_cast<int>(c.tables.size()); ++i) {
    const Table& t = c.tables[static_cast<std::size_t>(i)];
    if (!IsComparable(t)) continue;
    options.tables.push_back(Old(i));
    if (t.renamed) options.map[Old(i)] = New(c, i);
    if (t.column_renamed) options.map[Old(i) + ".c1"] = New(c, i) + ".d1";
    if (t.converted) options.ignore.push_back("main." + Old(i) + ".c1");
    if (t.parent >= 0 && !IsComparable(c.tables[static_cast<std::size_t>(t.parent)])) {
      options.ignore.push_back("main." + Old(i) + ".p");
    }
  }
  if (options.tables.empty()) return harness::CompareResult::kUnknown;
  const harness::Comparison comparison = harness::CompareRows(
      db::Endpoint::Sqlite(folder.old_file()), db::Endpoint::Sqlite(folder.new_file()), options);

  RC_ASSERT(comparison.result != harness::CompareResult::kUnknown);
  return comparison.result;
}

// A comparable table with a value that can be changed; -1 = none has rows.
int TableToSpoil(const Case& c, db::Session& old) {
  for (int i = 0; i < static_cast<int>(c.tables.size()); ++i) {
    if (IsComparable(c.tables[static_cast<std::size_t>(i)]) &&
        old.Scalar("SELECT count(c0) FROM " + Old(i)).AsInteger() > 0) {
      return i;
    }
  }
  return -1;
}

std::string Spoil(const std::string& table) {
  return "UPDATE " + table + " SET c0 = 'spoilt' WHERE c0 = (SELECT c0 FROM " + table +
         " WHERE c0 IS NOT NULL LIMIT 1)";
}

class Between : public core::Probe {
 public:
  explicit Between(std::function<void()> act) : act_(std::move(act)) {}
  void OnEvent(const core::Event& event) override {
    if (event.kind != "point") return;
    const std::string point = event.data.value("point", "");
    if (point == "copy.after_commit" || point == "sync.after_commit" ||
        point == "replay.after_commit" || point == "copy.before_commit") {
      act_();
    }
  }

 private:
  std::function<void()> act_;
};

void Check(const Case& c, bool processes) {
  Folder folder(OldSql(c), NewSql(c), c.wal);
  folder.options["limits"] = {{"chunk_rows", c.chunk}};
  folder.options["triggers_on_replay"] = c.triggers_on_replay;
  const auto application =
      db::Connect(db::Endpoint::Sqlite(folder.old_file()),
                  {.lock_timeout = std::chrono::milliseconds(5), .foreign_keys = true});
  application->Execute("PRAGMA synchronous = OFF");
  for (const Write& write : c.before) Do(*application, Apply(c, write));
  std::unique_ptr<Writer> first;
  std::unique_ptr<Writer> second;
  if (processes) {
    const auto work = [&c](std::size_t step) {
      return [&c, step](db::Session& session, int i) {
        const auto at = (static_cast<std::size_t>(i) * step) % c.during.size();
        Do(session, Apply(c, c.during[at]));
      };
    };
    first = std::make_unique<Writer>(folder.old_file(), work(1));
    second = std::make_unique<Writer>(folder.old_file(), work(7));
  }
  std::size_t next = 0;
  const bool quick = !c.triggers_on_replay;  // else half of them come when the triggers are on
  Between probe([&] {
    if (processes || (!quick && next >= c.during.size() / 2)) return;
    for (int i = 0; i < 3 && next < c.during.size(); ++i) {
      Do(*application, Apply(c, c.during[next++]));
    }
  });
  if (!quick && !processes) {
    RC_ASSERT(folder.Run(core::Phase::kSync, &probe).ok());
    while (next < c.during.size()) Do(*application, Apply(c, c.during[next++]));
  }
  const core::PhaseOutcome outcome = folder.Run(core::Phase::kVerify, &probe);
  first.reset();
  second.reset();
  if (!outcome.ok()) RC_LOG() << OldSql(c) << "\n" << NewSql(c) << "\n" << outcome.message << "\n";
  RC_ASSERT(outcome.ok());
  RC_ASSERT(Agrees(c, folder, true));
  if (Compared(c, folder) == harness::CompareResult::kUnknown) return;
  RC_ASSERT(Compared(c, folder) == harness::CompareResult::kEqual);
  if (const int spoilt = TableToSpoil(c, *folder.Old()); spoilt >= 0) {
    folder.New()->Execute(Spoil(New(c, spoilt)));
    RC_ASSERT(!Agrees(c, folder, false));
    RC_ASSERT(Compared(c, folder) == harness::CompareResult::kDifferent);
  }
}

RC_GTEST_PROP(HotCopyProperty, TheNewFileHoldsWhatTheOldOneDoes, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const auto writes = *rc::gen::inRange(1, 120);  // shrinks to the fewest that still fail
  Check(Make(seed, writes), false);
}

RC_GTEST_PROP(HotCopyProperty, TheSameWithWritersInOtherProcesses, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  Check(Make(seed, 200), true);
}

// What was written after the rows were compared, and is not in the log, nobody replays: the engine
// cannot know, and the comparison must.
RC_GTEST_PROP(HotCopyProperty, ADirtyKeyThatIsThrownAwayIsFound, ()) {
  const auto seed = *rc::gen::arbitrary<std::uint64_t>();
  const Case c = Make(seed, 30);
  Folder folder(OldSql(c), NewSql(c), c.wal);
  folder.options["triggers_on_replay"] = c.triggers_on_replay;
  const auto application =
      db::Connect(db::Endpoint::Sqlite(folder.old_file()), {.foreign_keys = true});
  for (const Write& write : c.before) Do(*application, Apply(c, write));
  const int spoilt = TableToSpoil(c, *application);
  RC_PRE(spoilt >= 0);
  WhenDrainBegins late([&] {
    const std::string last =
        application->Scalar("SELECT coalesce(max(id), 0) FROM _migration_log").text;
    application->Execute(Spoil(Old(spoilt)));
    application->Execute("DELETE FROM _migration_log WHERE id > " + last);
  });
  const core::PhaseOutcome outcome = folder.Run(core::Phase::kVerify, &late);
  if (!outcome.ok()) RC_LOG() << outcome.message << "\n";
  RC_ASSERT(outcome.ok());
  RC_ASSERT(!Agrees(c, folder, false));
  RC_ASSERT(Compared(c, folder) == harness::CompareResult::kDifferent);
}

}  // namespace
}  // namespace understudy::hot_copy
