#include "tests/property/table_swap_case.h"

#include <array>

#include "engine/base/file.h"
#include "engine/core/points.h"
#include "engine/db/identifier.h"

namespace understudy::property {
namespace {

using db::QuoteIdentifier;
using db::QuoteLiteral;

constexpr std::array<const char*, 10> kTypes = {
    "text",    "numeric(12,3)",    "jsonb",           "timestamptz",        "integer[]", "bytea",
    "boolean", "double precision", "public.\"Mood\"", "public.\"Not less\""};
constexpr std::array<const char*, 4> kActions = {"NO ACTION", "CASCADE", "SET NULL", "RESTRICT"};

std::string N(std::int64_t number) { return std::to_string(number); }
std::size_t Size(int number) { return static_cast<std::size_t>(number); }

// Nobody refers to a table that is emptied but itself.
std::size_t TargetOf(const SwapCase& swap, std::size_t from, const Reference& reference) {
  const std::size_t to = Size(reference.to) % swap.tables.size();
  return Truncated(swap, to) ? from : to;
}

bool Drawn(const TableCase& table) {
  return table.partition == 0 && (table.key == 1 || table.key == 5);
}

// A way back that must lose nothing needs every column.
int ChangeOf(const SwapCase& swap, const TableCase& table) {
  return swap.reverse && table.change == 3 ? 0 : table.change;
}

// Its first extra column goes, or gets another name.
bool LosesFirst(const SwapCase& swap, const TableCase& table) {
  const int change = ChangeOf(swap, table);
  return (change == 3 || change == 5) && !table.extras.empty();
}

// Names and types of the key.
std::vector<std::pair<std::string, std::string>> KeyOf(const TableCase& table) {
  if (table.partition != 0) return {{"owner", "integer"}, {"tag", "integer"}};
  switch (table.key) {
    case 1:
      return {{"id", "integer"}};
    case 2:
      return {{"Key \"text\"", "text"}};
    case 3:
      return {{"uid", "uuid"}};
    case 4:
      return {{"Part", "integer"}, {"part", "text"}};
    case 5:
      return {{"Id", "bigint"}};
    default:
      return {{"id", "integer"}};
  }
}

std::string KeyColumns(const TableCase& table, const std::string& prefix = "") {
  std::string all;
  for (const auto& [name, type] : KeyOf(table)) {
    all += (all.empty() ? "" : ", ") + prefix + QuoteIdentifier(name);
  }
  return all;
}

// The values of a key for a number; of keys that are drawn from a sequence there is none.
std::string KeyValues(const TableCase& table, int number) {
  switch (table.key) {
    case 2:
      return QuoteLiteral("K'" + N(number) + "\\ ü");
    case 3:
      return "md5('" + N(number) + "')::uuid";
    case 4:
      return N(number % 3) + ", " + QuoteLiteral("p " + N(number));
    default:
      return N(number);
  }
}

int NumberOf(int owner, int tag) { return (owner + 3) * 100 + tag; }

std::string Extra(std::size_t i) {
  return i % 2 == 0 ? "e" + N(static_cast<int>(i)) : "Extra " + N(static_cast<int>(i));
}

std::string ReferenceColumn(std::size_t reference, std::size_t part) {
  return "ref" + N(static_cast<int>(reference)) + "_" + N(static_cast<int>(part));
}

std::string ReferenceColumns(const SwapCase& swap, std::size_t index, std::size_t reference) {
  std::string all;
  const TableCase& table = swap.tables[index];
  const auto key = KeyOf(swap.tables[TargetOf(swap, index, table.references[reference])]);
  for (std::size_t part = 0; part < key.size(); ++part) {
    all += (all.empty() ? "" : ", ") + ReferenceColumn(reference, part);
  }
  return all;
}

std::string ValueOf(int type, int number) {
  switch (Size(type) % kTypes.size()) {
    case 1:
      return N(number) + ".125";
    case 2:
      return "jsonb_build_object('a', " + N(number) + ", 'b', '\"ü'::text)";
    case 3:
      return "timestamptz '2001-02-03 04:05:06.789+02' + interval '1 hour' * " + N(number);
    case 4:
      return "ARRAY[" + N(number) + ", NULL, 3]";
    case 5:
      return "decode(md5('" + N(number) + "'), 'hex')";
    case 6:
      return number % 2 == 0 ? "true" : "false";
    case 7:
      return "1.0::double precision / " + N(number + 3);
    case 8:
      return number % 2 == 0 ? "'so so'" : "'Good'";
    case 9:
      return N(number < 0 ? 0 : number);
    default:
      return number % 7 == 0 ? "NULL" : QuoteLiteral("text '" + N(number) + "' \\ ü\n");
  }
}

std::string PartitionName(std::size_t index, int number) {
  return QuoteIdentifier(Schemas()[number == 1 ? 1 : 0]) + "." +
         QuoteIdentifier("Part " + N(number) + " of " + N(static_cast<int>(index)));
}

// Rows with a tag go here and there; some partitions are of the other schema.
std::string Partitions(const SwapCase& swap, std::size_t index) {
  const auto part = [&](int number, const std::string& of, const std::string& values) {
    return "CREATE TABLE " + PartitionName(index, number) + " PARTITION OF " + of + " " + values +
           ";\n";
  };
  const std::string all = QuotedName(swap, index);
  switch (swap.tables[index].partition) {
    case 1:
      return part(0, all, "FOR VALUES FROM (MINVALUE) TO (2)") +
             part(1, all, "FOR VALUES FROM (2) TO (4)") + part(2, all, "DEFAULT");
    case 2:
      return part(0, all, "FOR VALUES IN (0, 3)") + part(1, all, "FOR VALUES IN (1, 4)") +
             part(2, all, "DEFAULT");
    case 3:
      return part(0, all, "FOR VALUES WITH (MODULUS 2, REMAINDER 0)") +
             part(1, all, "FOR VALUES WITH (MODULUS 2, REMAINDER 1)");
    case 4:
      return part(0, all, "FOR VALUES FROM (MINVALUE) TO (3) PARTITION BY HASH (owner)") +
             part(1, PartitionName(index, 0), "FOR VALUES WITH (MODULUS 2, REMAINDER 0)") +
             part(2, PartitionName(index, 0), "FOR VALUES WITH (MODULUS 2, REMAINDER 1)") +
             part(3, all, "DEFAULT");
    default:
      return "";
  }
}

std::string PartitionedBy(const TableCase& table) {
  constexpr std::array<const char*, 5> kBy = {
      "", " PARTITION BY RANGE (tag)", " PARTITION BY LIST (tag)", " PARTITION BY HASH (tag)",
      " PARTITION BY RANGE (tag)"};
  return kBy[Size(table.partition) % kBy.size()];
}

std::string CreateTable(const SwapCase& swap, std::size_t index) {
  const TableCase& table = swap.tables[index];
  std::string sql = "CREATE TABLE " + QuotedName(swap, index) + " (";
  for (const auto& [name, type] : KeyOf(table)) {
    if (table.partition != 0) break;  // (owner, tag)
    std::string declared = type;
    if (table.key == 1) declared = "integer GENERATED BY DEFAULT AS IDENTITY";
    if (table.key == 5) declared = "bigserial";
    sql += QuoteIdentifier(name) + " " + declared + ", ";
  }
  sql +=
      "owner integer NOT NULL, tag integer NOT NULL, v integer, n integer NOT NULL DEFAULT 0, "
      "hits integer NOT NULL DEFAULT 0, u text";
  if (table.unique && table.partition == 0)
    sql += " CONSTRAINT " + QuoteIdentifier("Once \"u\" " + N(static_cast<int>(index))) + " UNIQUE";
  for (std::size_t i = 0; i < table.extras.size(); ++i) {
    sql += ", " + QuoteIdentifier(Extra(i)) + " " + kTypes[Size(table.extras[i]) % kTypes.size()];
  }
  for (std::size_t r = 0; r < table.references.size(); ++r) {
    const auto key = KeyOf(swap.tables[TargetOf(swap, index, table.references[r])]);
    for (std::size_t part = 0; part < key.size(); ++part) {
      sql += ", " + ReferenceColumn(r, part) + " " + key[part].second;
    }
  }
  if (table.generated) sql += ", g integer GENERATED ALWAYS AS (tag * 2 + owner) STORED";
  sql += ", PRIMARY KEY (" + KeyColumns(table) + ")";
  if (table.partition == 0) sql += ", UNIQUE (owner, tag)";
  return sql + ")" + PartitionedBy(table) + ";\n" + Partitions(swap, index);
}

std::string ForeignKeys(const SwapCase& swap) {
  std::string sql;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    const TableCase& table = swap.tables[t];
    for (std::size_t r = 0; r < table.references.size(); ++r) {
      const Reference& reference = table.references[r];
      const std::size_t to = TargetOf(swap, t, reference);
      sql += "ALTER TABLE " + QuotedName(swap, t) + " ADD CONSTRAINT " +
             QuoteIdentifier("Ref " + N(static_cast<int>(r))) + " FOREIGN KEY (" +
             ReferenceColumns(swap, t, r) + ") REFERENCES " + QuotedName(swap, to) + " (" +
             KeyColumns(swap.tables[to]) + ") ON DELETE " +
             kActions[Size(reference.on_delete) % kActions.size()] + " ON UPDATE " +
             kActions[Size(reference.on_update) % 3] +
             (reference.deferred ? " DEFERRABLE INITIALLY DEFERRED" : "") + ";\n";
    }
  }
  return sql;
}

std::string Triggers(const SwapCase& swap) {
  std::string sql;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    const TableCase& table = swap.tables[t];
    if (table.trigger == 0) continue;
    const std::string function = QuoteIdentifier(SchemaOf(table)) + "." +
                                 QuoteIdentifier("Trigger " + N(static_cast<int>(t)));
    const std::size_t other =
        HasCountedHits(swap, t) ? (table.trigger == 4 ? (t + 1) % swap.tables.size() : t) : t;
    std::string body;
    std::string when = "AFTER INSERT OR UPDATE";
    if (table.trigger == 1) {
      when = "BEFORE INSERT OR UPDATE";
      body = "NEW.v := coalesce(NEW.v, 0) + 1; RETURN NEW;";
    } else if (table.trigger == 2 || !HasCountedHits(swap, t)) {
      body = "IF pg_trigger_depth() > 1 OR NEW.owner < 0 THEN RETURN NULL; END IF; UPDATE " +
             QuotedName(swap, t) +
             " SET v = coalesce(v, 0) + 10 WHERE owner = NEW.owner AND tag = NEW.tag; RETURN NULL;";
    } else {
      // How often it has struck in this transaction is told to the writer.
      const std::string setting = "property.hits_" + N(static_cast<int>(other));
      body = "IF pg_trigger_depth() > 1 OR NEW.owner < 0 THEN RETURN NULL; END IF; UPDATE " +
             QuotedName(swap, other) +
             " SET hits = hits + 1 WHERE owner = -1 AND tag = 0; PERFORM set_config('" + setting +
             "', (coalesce(nullif(current_setting('" + setting +
             "', true), ''), '0')::integer + 1)::text, true); RETURN NULL;";
    }
    const std::string name = QuoteIdentifier("Trigger of " + N(static_cast<int>(t)));
    sql += "CREATE FUNCTION " + function + "() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN " +
           body + " END $f$;\nCREATE TRIGGER " + name + " " + when + " ON " + QuotedName(swap, t) +
           " FOR EACH ROW EXECUTE FUNCTION " + function + "();\n";
    if (table.trigger_state == 1) {
      sql += "ALTER TABLE " + QuotedName(swap, t) + " ENABLE ALWAYS TRIGGER " + name + ";\n";
    } else if (table.trigger_state == 2) {
      sql += "ALTER TABLE " + QuotedName(swap, t) + " DISABLE TRIGGER " + name + ";\n";
    }
  }
  return sql;
}

std::string Views(const SwapCase& swap) {
  std::string sql;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (!swap.tables[t].view) continue;
    sql += "CREATE VIEW " + QuoteIdentifier(SchemaOf(swap.tables[t])) + "." +
           QuoteIdentifier("View of " + N(static_cast<int>(t))) +
           " AS SELECT owner, count(*) AS c FROM " + QuotedName(swap, t) + " GROUP BY owner;\n";
  }
  return sql;
}

// What hangs on a table beside its columns.
std::string Decorations(const SwapCase& swap) {
  std::string sql;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    const std::string table = QuotedName(swap, t);
    const std::string schema = QuoteIdentifier(SchemaOf(swap.tables[t])) + ".";
    const std::string number = N(static_cast<int>(t));
    switch (swap.tables[t].decoration) {
      case 1:
        sql += "COMMENT ON TABLE " + table + " IS 'It''s a \\ comment'; COMMENT ON COLUMN " +
               table + ".tag IS 'tag';\n";
        break;
      case 2:
        sql += "GRANT SELECT, INSERT ON " + table + " TO PUBLIC; GRANT UPDATE (v) ON " + table +
               " TO pg_monitor WITH GRANT OPTION;\n";
        break;
      case 3:
        sql += "ALTER TABLE " + table + " ENABLE ROW LEVEL SECURITY; CREATE POLICY \"Some p\" ON " +
               table + " FOR SELECT TO pg_monitor USING (owner >= 0);\n";
        break;
      case 4:
        sql += "ALTER TABLE " + table + " REPLICA IDENTITY FULL" +
               (swap.tables[t].partition == 0 ? ", SET (fillfactor = 70);\n" : ";\n");
        break;
      case 5:
        sql += "CREATE STATISTICS " + schema + "\"Stat " + number + "\" ON owner, tag FROM " +
               table + ";\n";
        break;
      case 6:
        sql += "CREATE MATERIALIZED VIEW " + schema + "\"Mat " + number +
               "\" AS SELECT count(*) AS c FROM " + table + ";\n";
        break;
      case 7:
        sql += "CREATE FUNCTION " + schema + "\"Rows of " + number + "\"() RETURNS SETOF " + table +
               " LANGUAGE sql STABLE AS $f$ SELECT * FROM " + table + " $f$;\n";
        break;
      case 8:
        if (swap.tables[t].partition != 0) break;
        sql += "CREATE UNIQUE INDEX ON " + table + " ((owner * 1000 + tag)) WHERE owner > 100;\n";
        break;
      case 9:
        sql += "CREATE SEQUENCE " + schema + "\"Seq " + number +
               "\" INCREMENT -2 CACHE 3; ALTER TABLE " + table +
               " ALTER u SET DEFAULT 'd ' || nextval('" + schema + "\"Seq " + number +
               "\"')::text;\n";
        break;
      default:
        break;
    }
  }
  return sql;
}

// A row of a table; columns that nobody names are NULL or drawn. `for_good`: of columns that are
// there before and after.
std::string InsertRow(const SwapCase& swap, std::size_t index, int owner, int tag, int v,
                      const std::string& conflict = "", bool for_good = false) {
  const TableCase& table = swap.tables[index];
  const bool left_out = Drawn(table) || table.partition != 0;
  std::string columns = left_out ? "" : KeyColumns(table) + ", ";
  std::string values = left_out ? "" : KeyValues(table, NumberOf(owner, tag)) + ", ";
  columns += "owner, tag, v";
  values += N(owner) + ", " + N(tag) + ", " + N(v);
  for (std::size_t i = for_good && LosesFirst(swap, table) ? 1 : 0; i < table.extras.size(); ++i) {
    columns += ", " + QuoteIdentifier(Extra(i));
    values += ", " + ValueOf(table.extras[i], v + tag);
  }
  return "INSERT INTO " + QuotedName(swap, index) + " (" + columns + ") VALUES (" + values + ")" +
         conflict;
}

std::string Where(int owner, int tag) {
  return " WHERE owner = " + N(owner) + " AND tag = " + N(tag);
}

// Sets a reference to a row of the other table: of the writer's own, a shared or a fixed one.
std::string Refer(const SwapCase& swap, std::size_t index, int owner, int tag, int choice) {
  const TableCase& table = swap.tables[index];
  if (table.references.empty()) return "";
  const std::size_t r = Size(choice) % table.references.size();
  const std::size_t to = TargetOf(swap, index, table.references[r]);
  int to_owner = Preserved(swap, to) ? (choice % 3 == 0 ? -1 : owner) : -2;
  if (owner < 0) to_owner = Preserved(swap, to) ? -1 : -2;
  const int to_tag = choice % (to_owner == -1 ? kShared : to_owner == -2 ? kFixed : kTags);
  return "UPDATE " + QuotedName(swap, index) + " SET (" + ReferenceColumns(swap, index, r) +
         ") = (SELECT " + KeyColumns(swap.tables[to]) + " FROM " + QuotedName(swap, to) +
         Where(to_owner, to_tag) + ")" + Where(owner, tag);
}

// Rows that both databases have, in the same order, so that drawn keys are the same.
std::string CommonRows(const SwapCase& swap, int v) {
  std::string sql;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (Truncated(swap, t)) continue;
    for (int tag = 0; tag < kShared; ++tag) sql += InsertRow(swap, t, -1, tag, v) + ";\n";
    for (int tag = 0; tag < kFixed; ++tag) sql += InsertRow(swap, t, -2, tag, v) + ";\n";
  }
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    for (int tag = 0; tag < kShared; ++tag) {
      if (const std::string refer = Refer(swap, t, -1, tag, tag); !refer.empty())
        sql += refer + ";\n";
    }
  }
  return sql;
}

// Columns that mean the same before and after, but for the triggers' counters.
std::string SameColumns(const SwapCase& swap, std::size_t index) {
  const TableCase& table = swap.tables[index];
  std::string columns = "owner, tag, " + KeyColumns(table) + ", v, n, u";
  for (std::size_t i = LosesFirst(swap, table) ? 1 : 0; i < table.extras.size(); ++i) {
    columns += ", " + QuoteIdentifier(Extra(i));
  }
  for (std::size_t r = 0; r < table.references.size(); ++r) {
    columns += ", " + ReferenceColumns(swap, index, r);
  }
  if (table.generated) columns += ", g";
  return columns;
}

}  // namespace

std::vector<std::string> Schemas() { return {"public", "Other \"S\""}; }

std::string SchemaOf(const TableCase& table) { return Schemas()[table.other_schema ? 1 : 0]; }

std::string NameOf(const SwapCase& swap, std::size_t index) {
  const std::string number = N(static_cast<int>(index));
  switch (swap.tables[index].name % 6) {
    case 1:
      return "Capital" + number;
    case 2:
      return "we\"ird " + number + "'s $1 %s";
    case 3: {
      std::string name = "a_name_of_63_bytes_" + number + "_";
      name.resize(63, 'x');
      return name;
    }
    case 4:
      return "Ünïcode " + number;
    case 5:
      return "dot.ted\\" + number;
    default:
      return "t" + number;
  }
}

std::string QuotedName(const SwapCase& swap, std::size_t index) {
  return db::TableName{SchemaOf(swap.tables[index]), NameOf(swap, index)}.Quoted();
}

bool Preserved(const SwapCase& swap, std::size_t index) {
  return swap.by_sql || swap.tables[index].preserved;
}

// Its trigger counts on a shared row, in a table where that is kept.
bool HasCountedHits(const SwapCase& swap, std::size_t index) {
  const TableCase& table = swap.tables[index];
  if (table.trigger < 3) return false;
  const std::size_t other = table.trigger == 4 ? (index + 1) % swap.tables.size() : index;
  return Preserved(swap, other) && !Truncated(swap, other);
}

bool Truncated(const SwapCase& swap, std::size_t index) {
  return swap.tables[index].truncated && Preserved(swap, index);
}

std::string ChangeSql(const SwapCase& swap) {
  std::string sql;
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    const TableCase& table = swap.tables[t];
    const std::string alter = "ALTER TABLE " + QuotedName(swap, t) + " ";
    switch (ChangeOf(swap, table)) {
      case 1:
        sql += alter + "ADD COLUMN \"New one\" text NOT NULL DEFAULT 'x';\n";
        break;
      case 2:
        sql += alter + "ALTER v TYPE bigint;\n";
        break;
      case 3:
        if (!table.extras.empty())
          sql += alter + "DROP COLUMN " + QuoteIdentifier(Extra(0)) + ";\n";
        break;
      case 4:
        sql += "CREATE INDEX " + QuoteIdentifier("Index of " + N(static_cast<int>(t))) + " ON " +
               QuotedName(swap, t) + " (v) WHERE owner >= 0;\n";
        break;
      case 5:
        if (!table.extras.empty()) {
          sql += alter + "RENAME COLUMN " + QuoteIdentifier(Extra(0)) + " TO \"Re Named\";\n";
        }
        break;
      case 6:
        sql += alter + "ADD CONSTRAINT \"not less\" CHECK (n >= 0);\n";
        break;
      case 7:
        if (table.key == 0 && table.partition == 0) sql += alter + "ALTER id TYPE bigint;\n";
        break;
      default:
        break;
    }
  }
  return sql;
}

std::string SchemaSql(const SwapCase& swap, bool changed) {
  std::string sql = "CREATE SCHEMA IF NOT EXISTS " + QuoteIdentifier(Schemas()[1]) +
                    ";\nCREATE TYPE public.\"Mood\" AS ENUM ('so so', 'Good');\n"
                    "CREATE DOMAIN public.\"Not less\" AS integer CHECK (VALUE >= 0);\n";
  for (std::size_t t = 0; t < swap.tables.size(); ++t) sql += CreateTable(swap, t);
  sql += ForeignKeys(swap) + Triggers(swap) + Views(swap) + Decorations(swap);
  return changed ? sql + ChangeSql(swap) : sql;
}

std::string ProductionRowsSql(const SwapCase& swap) {
  std::string sql = "SET session_replication_role = replica;\n" + CommonRows(swap, 1);
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (!Preserved(swap, t)) continue;
    for (int i = 0; i < swap.tables[t].rows; ++i) {
      if (Truncated(swap, t) && i % kOwners != 0) continue;
      sql += InsertRow(swap, t, i % kOwners, i / kOwners % kTags, i, " ON CONFLICT DO NOTHING") +
             ";\n";
    }
  }
  return sql + "RESET session_replication_role;\n";
}

std::string SourceRowsSql(const SwapCase& swap) {
  SwapCase plain = swap;
  for (TableCase& table : plain.tables) {
    if (LosesFirst(swap, table)) table.extras.clear();  // the columns have gone
  }
  std::string sql = "SET session_replication_role = replica;\n" + CommonRows(plain, 2);
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    for (int i = 0; i < swap.tables[t].rows + 2; ++i) {
      sql += InsertRow(plain, t, 7, 100 + i, i) + ";\n";
    }
  }
  return sql + "RESET session_replication_role;\n";
}

Json MigrationOf(const SwapCase& swap, const std::string& sql_file) {
  Json migration = {{"strategy", "table-swap"}, {"target", "main"}, {"schemas", Schemas()}};
  const auto display = [&](std::size_t t) {
    return db::TableName{SchemaOf(swap.tables[t]), NameOf(swap, t)}.Display();
  };
  if (swap.by_sql) {
    migration["schema"] = {{"sql", {sql_file}}};
  } else {
    migration["source"] = "data";
    migration["schema"] = {{"from", "source"}};
    migration["preserved"] = Json::array();
  }
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (!Preserved(swap, t)) continue;
    if (!swap.by_sql) migration["preserved"].push_back(display(t));
    if (ChangeOf(swap, swap.tables[t]) == 5 && !swap.tables[t].extras.empty()) {
      migration["columns"][display(t)]["Re Named"] = {{"from", Extra(0)}};
    }
  }
  if (swap.reverse) migration["reverse"] = true;
  return migration;
}

std::string StateOf(const SwapCase& swap, std::size_t index) {
  return "ROW(" + SameColumns(swap, index) + ")::text";
}

std::string OldShapeOf(const SwapCase& swap, std::size_t index, bool become) {
  const TableCase& table = swap.tables[index];
  std::string columns = SameColumns(swap, index) + ", hits";
  if (LosesFirst(swap, table) && ChangeOf(swap, table) == 5) {
    columns += ", " + QuoteIdentifier(become ? "Re Named" : Extra(0));
  }
  return "ROW(" + columns + ")::text";
}

int CountedTag(const SwapCase& swap, const Op& op) {
  const std::size_t table = Size(op.table) % swap.tables.size();
  return op.kind == 4 && Preserved(swap, table) && !Truncated(swap, table) ? op.a % kShared : -1;
}

std::vector<std::string> SqlOf(const SwapCase& swap, const Op& op, int owner) {
  const std::size_t index = Size(op.table) % swap.tables.size();
  if (!Preserved(swap, index)) return {};
  const bool alone = Truncated(swap, index);
  if (alone && owner != 0) return {};
  const TableCase& table = swap.tables[index];
  const std::string name = QuotedName(swap, index);
  const int a = op.a % kTags;
  const int b = op.b % kTags;
  const std::string u = QuoteLiteral("U " + N(b % 3));
  switch (op.kind) {
    case 0:
      return {InsertRow(swap, index, owner, a, b, " ON CONFLICT DO NOTHING", true)};
    case 1:
      return {"UPDATE " + name + " SET v = coalesce(v, 0) + " + N(b) + Where(owner, a)};
    case 2:
      return {"UPDATE " + name + " SET v = 1 - v WHERE owner = " + N(owner)};
    case 3:
      return {"DELETE FROM " + name + Where(owner, a)};
    case 4:
      return {"UPDATE " + name + " SET n = n + 1" + Where(-1, op.a % kShared)};
    case 5:  // a unique value, handed over
      return {"UPDATE " + name + " SET u = NULL WHERE u = " + u + " AND owner = " + N(owner),
              "UPDATE " + name + " SET u = " + u + Where(owner, a)};
    case 6:
      if (table.partition != 0) return {"UPDATE " + name + " SET tag = " + N(b) + Where(owner, a)};
      if (Drawn(table))
        return {"UPDATE " + name + " SET " + KeyColumns(table) + " = DEFAULT" + Where(owner, a)};
      return {"UPDATE " + name + " SET (" + KeyColumns(table) + ") = ROW(" +
              KeyValues(table, NumberOf(owner, b)) + ")" + Where(owner, a)};
    case 7: {
      const std::string refer = Refer(swap, index, owner, a, op.b);
      return refer.empty() ? std::vector<std::string>{} : std::vector<std::string>{refer};
    }
    case 8: {
      // Not the first: it may have gone, or have another name.
      if (table.extras.size() < 2) return {};
      return {"UPDATE " + name + " SET " + QuoteIdentifier(Extra(1)) + " = " +
              ValueOf(table.extras[1], op.b) + Where(owner, a)};
    }
    case 9:
      return {"SAVEPOINT s", "UPDATE " + name + " SET v = -1" + Where(owner, a),
              "DELETE FROM " + name + Where(owner, b), "ROLLBACK TO s",
              "UPDATE " + name + " SET v = 5" + Where(owner, b)};
    case 10:
      return {InsertRow(swap, index, owner, a, b, " ON CONFLICT (owner, tag) DO UPDATE SET v = 77",
                        true)};
    case 11:  // the row of one key becomes another's
      return {"DELETE FROM " + name + Where(owner, a),
              "UPDATE " + name + " SET tag = " + N(a) + Where(owner, b),
              InsertRow(swap, index, owner, b, op.a, " ON CONFLICT DO NOTHING", true)};
    case 12:
      return {"DELETE FROM " + name + Where(owner, a),
              InsertRow(swap, index, owner, a, 1000 + b, " ON CONFLICT DO NOTHING", true)};
    case 14:
      if (alone && table.partition != 0 && table.references.empty() && b % 2 == 1) {
        return {"TRUNCATE " + PartitionName(index, a % 2)};
      }
      if (alone) return {"TRUNCATE " + name + (b % 3 == 2 ? " RESTART IDENTITY" : "")};
      [[fallthrough]];
    default:
      return {"UPDATE " + name + " SET v = NULL WHERE owner = " + N(owner) + " AND tag <> " + N(a)};
  }
}

const std::vector<std::string>& InterruptPoints() {
  static const std::vector<std::string> points = [] {
    std::vector<std::string> names = {""};
    for (const core::Point& point : core::Points()) {
      if (point.passed_by == "every strategy" || point.passed_by == "copying strategies" ||
          point.passed_by == "table-swap") {
        names.emplace_back(point.name);
      }
    }
    return names;
  }();
  return points;
}

void WriteScenario(const SwapCase& swap, const std::filesystem::path& folder,
                   const std::string& why) {
  std::filesystem::create_directories(folder);
  WriteFileWhole(folder / "production.sql", SchemaSql(swap, false) + ProductionRowsSql(swap));
  if (swap.by_sql) {
    WriteFileWhole(folder / "change.sql", ChangeSql(swap));
  } else {
    WriteFileWhole(folder / "source.sql", SchemaSql(swap, true) + SourceRowsSql(swap));
  }
  Json scenario = {
      {"name", "found-by-property"},
      {"description",
       "Written by tests/property/table_swap_property_test. The property runs each writer's "
       "statements in transactions of its own, in their order; here they are drawn one by one. "
       "What was wrong: " +
           why},
      {"tags", {"postgres", "table-swap"}},
      {"databases", {{"main", {{"engine", "postgres"}, {"fixture", {"production.sql"}}}}}},
      {"migration", MigrationOf(swap, "change.sql")},
      {"workload", Json::array()},
      // Writers get in each other's way, and some new schemas lack a column.
      {"checks",
       {{"errors", {{"allow", {"23505", "23503", "23001", "40P01"}}}},
        {"catalog", {{"allow", {"column:*.e0"}}}}}}};
  if (!swap.by_sql) {
    scenario["databases"]["data"] = {{"engine", "postgres"}, {"fixture", {"source.sql"}}};
  }
  Json writes = Json::array();
  for (std::size_t t = 0; t < swap.tables.size(); ++t) {
    if (Preserved(swap, t)) {
      writes.push_back(db::TableName{SchemaOf(swap.tables[t]), NameOf(swap, t)}.Display());
    }
  }
  std::string transactions;
  for (std::size_t owner = 0; owner < swap.histories.size(); ++owner) {
    Json statements = Json::array();
    transactions += "-- writer " + N(static_cast<int>(owner)) + "\nBEGIN;\n";
    for (const Op& op : swap.histories[owner]) {
      for (const std::string& sql : SqlOf(swap, op, static_cast<int>(owner))) {
        transactions += sql + ";\n";
        if (!sql.starts_with("SAVEPOINT") && !sql.starts_with("ROLLBACK"))
          statements.push_back(sql);
      }
      if (op.end != 0) transactions += op.end == 1 ? "COMMIT;\nBEGIN;\n" : "ROLLBACK;\nBEGIN;\n";
    }
    transactions += "COMMIT;\n";
    if (statements.empty()) continue;
    scenario["workload"].push_back({{"kind", "sql"},
                                    {"on", "main"},
                                    {"clients", 1},
                                    {"writes", writes},
                                    {"statements", statements}});
  }
  WriteFileWhole(folder / "writers.sql", transactions);
  if (swap.interrupt > 0) {
    scenario["faults"] = {{{"kind", swap.cut ? "kill-engine" : "fail"},
                           {"at", InterruptPoints()[Size(swap.interrupt)]},
                           {"nth", swap.nth},
                           {"then", swap.then_reset ? "reset" : "resume"}}};
    scenario["steps"] = {{{"snapshot", "before"}},
                         {{"migrate", {{"through", "verify"}}}, {"outcome", "failed"}},
                         {{"migrate", {{"through", "verify"}}}},
                         {{"snapshot", "after"}}};
    scenario["faults"][0].erase("then");
  }
  WriteFileWhole(folder / "scenario.json", scenario.dump(2) + "\n");
}

std::ostream& operator<<(std::ostream& out, const TableCase& table) {
  out << "{name " << table.name << (table.other_schema ? ", other schema" : "")
      << (table.preserved ? ", preserved" : ", replaced") << ", key " << table.key
      << (table.unique ? ", unique" : "") << (table.generated ? ", generated" : "") << ", trigger "
      << table.trigger << "/" << table.trigger_state << (table.view ? ", view" : "") << ", rows "
      << table.rows << ", extras";
  for (const int extra : table.extras) out << " " << extra;
  for (const Reference& r : table.references) {
    out << ", -> " << r.to << "/" << r.on_delete << "/" << r.on_update << (r.deferred ? "/d" : "");
  }
  return out << ", decoration " << table.decoration << ", change " << table.change
             << (table.partition != 0 ? ", partitioned " + N(table.partition) : "")
             << (table.truncated ? ", truncated" : "") << "}";
}

std::ostream& operator<<(std::ostream& out, const Op& op) {
  return out << "{" << op.kind << ", " << op.table << ", " << op.a << ", " << op.b << ", " << op.end
             << "}";
}

std::ostream& operator<<(std::ostream& out, const SwapCase& swap) {
  out << (swap.by_sql ? "by sql" : "from source") << (swap.quiet_cutover ? ", quiet" : "")
      << (swap.reverse ? ", reverse" : "") << ", interrupted at '"
      << InterruptPoints()[Size(swap.interrupt)] << "' (" << swap.nth << ")"
      << (swap.cut ? ", cut off" : "") << (swap.then_reset ? ", then reset" : "") << ", after "
      << swap.after << "\n";
  for (const TableCase& table : swap.tables) out << "  " << table << "\n";
  for (const auto& history : swap.histories) {
    out << "  history";
    for (const Op& op : history) out << " " << op;
    out << "\n";
  }
  return out;
}

}  // namespace understudy::property
