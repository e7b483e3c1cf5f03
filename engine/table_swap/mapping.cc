#include "engine/table_swap/mapping.h"

#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "engine/base/sabotage.h"
#include "engine/db/script.h"

namespace understudy::table_swap {
namespace {

using catalog::Column;
using catalog::Key;
using catalog::Table;
using db::DisplayIdentifier;
using db::QuoteIdentifier;
using db::Row;
using db::Value;

// "character varying(10)" → "character varying"; "numeric(10,2)[]" → "numeric[]".
std::string WithoutModifier(const std::string& type) {
  const std::size_t open = type.find('(');
  const std::size_t close = type.find(')', open);
  if (open == std::string::npos || close == std::string::npos || type[0] == '"') return type;
  return type.substr(0, open) + type.substr(close + 1);
}

bool IsWholeNumber(const std::string& type) {
  return type == "smallint" || type == "integer" || type == "bigint";
}

bool IsText(const std::string& type) { return type == "text" || type == "character varying"; }

// Types whose values keep their identity in one another, as long as they fit, and that one operator
// of pg_catalog compares by index.
bool SameFamily(const Column& left, const Column& right) {
  const std::string a = WithoutModifier(left.base_type);
  const std::string b = WithoutModifier(right.base_type);
  return a == b || (IsWholeNumber(a) && IsWholeNumber(b)) || (IsText(a) && IsText(b));
}

// What a type rounds to in silence: "numeric(10,2)" → 2; none = nothing is rounded.
std::optional<int> Digits(const std::string& type) {
  const std::string plain = WithoutModifier(type);
  const bool number = plain.starts_with("numeric");
  const bool moment = plain.starts_with("time") || plain.starts_with("interval");
  if (!number && !moment) return std::nullopt;
  const std::size_t open = type.find('(');
  if (open == std::string::npos) return number ? std::nullopt : std::optional<int>(6);
  const std::size_t comma = type.find(',', open);
  if (number && comma == std::string::npos) return 0;
  return std::stoi(type.substr((number ? comma : open) + 1));
}

// Whether values of `from` may be rounded in `to`, which PostgreSQL does without a word.
bool MayRound(const Column& from, const Column& to) {
  const std::optional<int> kept = Digits(to.base_type);
  if (!kept || from.base_type == to.base_type) return false;
  if (WithoutModifier(from.base_type) != WithoutModifier(to.base_type)) return true;
  const std::optional<int> given = Digits(from.base_type);
  return !given || *given > *kept;
}

std::string Named(const Table& table, const std::string& column) {
  return table.name.Display() + "." + DisplayIdentifier(column);
}

// What an INSERT does with a value of one type for a column of another.
struct Conversion {
  bool possible = false;
  bool exact = false;  // nothing can be lost or refused
  std::string why_not;
};

Conversion Convert(db::Session& session, const std::string& from, const std::string& to) {
  Conversion conversion;
  if (from == to) return {true, true, ""};
  // Arrays are converted element by element, by the elements' cast.
  const db::Result found = session.Query(R"(
WITH given AS (
  SELECT to_regtype($1)::oid AS source, to_regtype($2)::oid AS target
), pair AS (
  SELECT CASE WHEN s.typcategory = 'A' AND t.typcategory = 'A' AND s.typelem <> 0 AND t.typelem <> 0
              THEN s.typelem ELSE s.oid END AS source,
         CASE WHEN s.typcategory = 'A' AND t.typcategory = 'A' AND s.typelem <> 0 AND t.typelem <> 0
              THEN t.typelem ELSE t.oid END AS target
    FROM given g JOIN pg_type s ON s.oid = g.source JOIN pg_type t ON t.oid = g.target
)
SELECT s.oid = t.oid, c.castcontext, c.castmethod, f.provolatile, t.typcategory,
       s.typtype = 'e' OR o.provolatile = 'i'
  FROM pair p
  JOIN pg_type s ON s.oid = p.source
  JOIN pg_type t ON t.oid = p.target
  JOIN pg_proc o ON o.oid = s.typoutput
  LEFT JOIN pg_cast c ON c.castsource = s.oid AND c.casttarget = t.oid
  LEFT JOIN pg_proc f ON f.oid = c.castfunc)",
                                         {Value::Text(from), Value::Text(to)});
  if (found.rows.empty()) {
    conversion.why_not = "the target has no type " + to + " yet";
    return conversion;
  }
  const Row& row = found.rows[0];
  if (row[0].AsBool()) return {true, false, ""};  // another modifier
  const std::string context = row[1].TextOr("");
  if (context == "i" || context == "a") {
    if (row[2].text == "b" || row[3].TextOr("i") == "i") return {true, context == "i", ""};
    conversion.why_not = "what the conversion gives depends on a session's settings";
    return conversion;
  }
  if (context.empty() && row[4].text == "S") {
    if (row[5].AsBool()) return {true, true, ""};
    conversion.why_not = "how it is written as text depends on a session's settings";
    return conversion;
  }
  conversion.why_not = "PostgreSQL does not convert the one to the other by itself";
  return conversion;
}

class Mapper {
 public:
  Mapper(db::Session& session, const Table& old_table, const Table& new_table)
      : session_(session), old_(old_table), new_(new_table) {}

  TableMapping Run(const std::map<std::string, ColumnRule>& rules) {
    if (old_.kind == 'f') Refuse(old_.name.Display() + " is a foreign table");
    for (const auto& [column, rule] : rules) {
      if (new_.Find(column) == nullptr) {
        Refuse("columns: " + new_.name.Display() + " has no column " + DisplayIdentifier(column));
      }
    }
    for (const Column& column : new_.columns) {
      const auto it = rules.find(column.name);
      if (column.generated != 0) {
        if (it != rules.end())
          Refuse(Named(new_, column.name) + " is generated, and takes no rule");
        continue;
      }
      if (it != rules.end()) {
        Apply(column, it->second);
      } else if (old_.Find(column.name) != nullptr) {
        From(column, column.name);
      } else {
        Default(column, "has no column of that name in the old table");
      }
    }
    Dropped();
    if (map_.refused.empty()) ChooseKey();
    map_.same_shape = plain_ && map_.dropped.empty() && map_.defaults.empty();
    return std::move(map_);
  }

 private:
  void Refuse(std::string why) { map_.refused.push_back(std::move(why)); }

  void Apply(const Column& column, const ColumnRule& rule) {
    switch (rule.kind) {
      case ColumnRule::Kind::kDefault:
        Default(column, "is to get its default");
        return;
      case ColumnRule::Kind::kFrom:
        if (old_.Find(rule.text) == nullptr) {
          Refuse("columns: " + Named(new_, column.name) + " is to come from " +
                 DisplayIdentifier(rule.text) + ", which " + old_.name.Display() + " has not");
          return;
        }
        From(column, rule.text);
        return;
      case ColumnRule::Kind::kSql:
        if (const std::optional<std::string> same = OneColumn(rule.text)) {
          From(column, *same);
        } else {
          Sql(column, rule.text);
        }
        return;
    }
  }

  // An expression that is but the name of a column.
  std::optional<std::string> OneColumn(const std::string& sql) const {
    try {
      const std::vector<std::string> parts = db::ParseDottedName(sql);
      if (parts.size() == 1 && old_.Find(parts[0]) != nullptr) return parts[0];
    } catch (const Error&) {  // an expression, then
    }
    return std::nullopt;
  }

  void From(const Column& column, const std::string& old_name) {
    const Column& old = *old_.Find(old_name);
    used_.insert(old_name);
    const Conversion conversion = Convert(session_, old.base_type, column.base_type);
    if (!conversion.possible) {
      Refuse(Named(new_, column.name) + " is " + column.type + " and gets " +
             Named(old_, old_name) + ", which is " + old.type + ": " + conversion.why_not +
             R"(; say how in "columns", as {"sql": "…"})");
      return;
    }
    if (old.type != column.type || old_name != column.name) plain_ = false;
    if (!conversion.exact) {
      map_.notes.push_back(Named(new_, column.name) + ": " + old.type + " becomes " + column.type +
                           "; a value that does not fit stops the cutover, digits may be rounded");
    }
    std::string value = QuoteIdentifier(old_name);
    if (Sabotaged("swap-maps-column-wrong") && column.type == "text" && column.not_null)
      value = "upper(" + value + ")";
    map_.rows.columns.push_back({column.name, std::move(value), true});
    carriers_.emplace(old_name, &column);
  }

  void Default(const Column& column, const std::string& why) {
    plain_ = false;
    if (column.not_null && !column.has_default && column.identity == 0) {
      Refuse(Named(new_, column.name) + " " + why +
             R"(, is NOT NULL and has no default; give it a rule in "columns")");
      return;
    }
    map_.defaults.push_back(column.name);
    map_.rows.not_compared.push_back(column.name);
  }

  void Sql(const Column& column, const std::string& sql) {
    plain_ = false;
    const std::string where = "columns: " + Named(new_, column.name) + ": ";
    const std::vector<std::string> words = db::Tokens(sql, db::Engine::kPostgres);
    if (std::find(words.begin(), words.end(), "SELECT") != words.end()) {
      Refuse(where + "a subquery reads other rows, whose changes would not be seen");
      return;
    }
    const std::string expression = "(" + sql + "\n)";
    std::string type;
    try {
      // In a WHERE no aggregate, window or set-returning function is allowed: one value per row.
      const std::string from =
          " FROM ONLY " + old_.name.Quoted() + " AS " + QuoteIdentifier(old_.name.name);
      Try([&] {
        const db::Result shape = session_.Query("SELECT " + expression + from + " WHERE " +
                                                expression + " IS NULL LIMIT 0");
        type = session_
                   .Scalar("SELECT format_type($1::oid, NULL)",
                           {Value::Integer(shape.columns.at(0).type_oid)})
                   .text;
      });
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kConstraint) throw;
      Refuse(where + error.message() + " (names outside pg_catalog need their schema)");
      return;
    }
    if (type != "unknown") {
      const Conversion conversion = Convert(session_, type, column.base_type);
      if (!conversion.possible) {
        Refuse(where + "the expression gives " + type + ", the column is " + column.type + ": " +
               conversion.why_not);
        return;
      }
    }
    for (const Column& old : old_.columns) {
      const bool named = std::any_of(words.begin(), words.end(), [&](const std::string& word) {
        if (word == QuoteIdentifier(old.name)) return true;
        std::string upper = old.name;
        for (char& c : upper) {
          if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
        }
        return word == upper;
      });
      if (named) used_.insert(old.name);
    }
    map_.rows.columns.push_back({column.name, expression, true});
    map_.sql_types[column.name] = column.type;
  }

  // A statement that may fail, inside whatever the caller has open.
  template <typename Work>
  void Try(Work&& work) {
    if (!session_.InTransaction()) return work();
    session_.Execute("SAVEPOINT understudy_try");
    try {
      work();
      session_.Execute("RELEASE SAVEPOINT understudy_try");
    } catch (...) {
      session_.Execute("ROLLBACK TO SAVEPOINT understudy_try; RELEASE SAVEPOINT understudy_try");
      throw;
    }
  }

  void Dropped() {
    for (const Column& old : old_.columns) {
      if (old.generated == 0 && !used_.contains(old.name)) map_.dropped.push_back(old.name);
    }
    for (const std::string& column : map_.dropped) {
      map_.notes.push_back(Named(old_, column) + " has no successor: its values are dropped");
    }
  }

  // Where the values of an old column stand unchanged; its own name first.
  const Column* Carrier(const std::string& old_name) const {
    const Column* best = nullptr;
    const auto [begin, end] = carriers_.equal_range(old_name);
    for (auto it = begin; it != end; ++it) {
      if (!SameFamily(*old_.Find(old_name), *it->second)) continue;
      if (best == nullptr || it->second->name == old_name) best = it->second;
    }
    return best;
  }

  static std::string KeyColumn(const Column& column) {
    return db::DisplayIdentifier(column.name) + " " + column.type +
           (column.collation.empty() || column.collation == "pg_catalog.\"default\""
                ? ""
                : " COLLATE " + column.collation);
  }

  static std::string Primary(const Table& table) {
    for (const Key& key : table.keys) {
      if (!key.primary) continue;
      std::string all;
      for (const std::string& column : key.columns) {
        all += (all.empty() ? "" : ", ") + KeyColumn(*table.Find(column));
      }
      return "(" + all + ")";
    }
    return "none";
  }

  // What writes are found again by is another key from the cutover on: for clients, for foreign
  // keys, for what else goes by it.
  void TellOtherKeys(const Key& captured) {
    std::string before;
    std::string after;
    for (const std::string& column : captured.columns) {
      before += (before.empty() ? "" : ", ") + KeyColumn(*old_.Find(column));
      after += (after.empty() ? "" : ", ") + KeyColumn(*Carrier(column));
    }
    if (before != after) {
      map_.notes.push_back("the key (" + before + ") that its writes are captured by becomes (" +
                           after + ")");
    }
    if (const std::string was = Primary(old_), is = Primary(new_);
        was != is && !(captured.primary && was == "(" + before + ")" && is == "(" + after + ")")) {
      map_.notes.push_back("its primary key is " + was + " and becomes " + is +
                           "; a row that the new one refuses stops the cutover");
    }
  }

  void ChooseKey() {
    if (old_.keys.empty()) {
      Refuse(old_.name.Display() +
             " has no unique key of NOT NULL columns: what is written to it cannot be captured");
      return;
    }
    const Key* chosen = nullptr;
    bool indexed = false;
    for (const Key& key : old_.keys) {
      std::set<std::string> columns;
      for (const std::string& column : key.columns) {
        const Column* carrier = Carrier(column);
        if (carrier != nullptr) columns.insert(carrier->name);
      }
      if (columns.size() != key.columns.size()) continue;
      const bool found = std::any_of(new_.keys.begin(), new_.keys.end(), [&](const Key& other) {
        return std::set<std::string>(other.columns.begin(), other.columns.end()) == columns;
      });
      if (chosen == nullptr || (found && !indexed)) {
        chosen = &key;
        indexed = found;
      }
    }
    if (chosen == nullptr) {
      Refuse("no key of " + old_.name.Display() + " arrives unchanged in the new table (" +
             old_.keys.front().name + " would have to): its rows could not be found again");
      return;
    }
    if (!indexed) {
      map_.notes.push_back("the new " + new_.name.Display() + " has no unique index over " +
                           chosen->name + "'s columns: bringing writes over will be slow");
    }
    TellOtherKeys(*chosen);
    capture::RowMapping& rows = map_.rows;
    rows.key = chosen->columns;
    rows.key_equals = chosen->equals;
    for (std::size_t i = 0; i < rows.key.size(); ++i) {
      const Column& old = *old_.Find(rows.key[i]);
      const Column& carrier = *Carrier(rows.key[i]);
      rows.mirror_key.push_back(carrier.name);
      const bool same = WithoutModifier(old.base_type) == WithoutModifier(carrier.base_type);
      rows.mirror_equals.push_back(same ? chosen->equals[i] : "OPERATOR(pg_catalog.=)");
      rows.mirror_collate.push_back(old.collation == carrier.collation ? "" : carrier.collation);
    }
  }

  db::Session& session_;
  const Table& old_;
  const Table& new_;
  TableMapping map_;
  bool plain_ = true;
  std::set<std::string> used_;  // old columns that arrive in one way or another
  std::multimap<std::string, const Column*>
      carriers_;  // old column → new ones that get it as it is
};

}  // namespace

TableMapping MakeMapping(db::Session& session, const Table& old_table, const Table& new_table,
                         const std::map<std::string, ColumnRule>& rules) {
  return Mapper(session, old_table, new_table).Run(rules);
}

TableMapping InvertMapping(db::Session& session, const TableMapping& mapping,
                           const Table& old_table, const Table& new_table) {
  TableMapping none;
  std::map<std::string, ColumnRule> rules;
  for (const Column& old : old_table.columns) {
    if (old.generated != 0) continue;
    const std::string plain = QuoteIdentifier(old.name);
    const Column* carrier = nullptr;
    for (const capture::ColumnSource& source : mapping.rows.columns) {
      if (source.expression != plain) continue;
      const Column* column = new_table.Find(source.column);
      if (column == nullptr) continue;
      if (carrier == nullptr || column->name == old.name) carrier = column;
    }
    if (carrier == nullptr) {
      none.refused.push_back(Named(old_table, old.name) +
                             " is in no new column as it was: the way back would lose its values");
    } else if ((!SameFamily(old, *carrier) && old.base_type != carrier->base_type) ||
               MayRound(*carrier, old)) {
      none.refused.push_back(Named(old_table, old.name) + " was " + old.type + " and is " +
                             carrier->type + " now: the way back could lose digits");
    } else {
      rules[old.name] = {ColumnRule::Kind::kFrom, carrier->name};
    }
  }
  if (!none.refused.empty()) return none;
  return MakeMapping(session, new_table, old_table, rules);
}

void MarkComparable(db::Session& session, const Table& old_table, TableMapping& mapping) {
  if (mapping.sql_types.empty()) return;
  // A generated column takes immutable expressions alone. It is tried on a table of the same name,
  // since the expression may say it.
  const std::string table = QuoteIdentifier(old_table.name.name);
  db::Transaction rolled_back(session);
  session.Execute("CREATE TEMPORARY TABLE " + table + " (LIKE " + old_table.name.Quoted() +
                  ") ON COMMIT DROP");
  for (capture::ColumnSource& source : mapping.rows.columns) {
    const auto type = mapping.sql_types.find(source.column);
    if (type == mapping.sql_types.end()) continue;
    session.Execute("SAVEPOINT understudy_try");
    try {
      session.Execute("ALTER TABLE pg_temp." + table + " ADD COLUMN understudy_tried " +
                      type->second + " GENERATED ALWAYS AS (CAST(" + source.expression + " AS " +
                      type->second + ")) STORED");
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::kConstraint) throw;
      source.compared = false;
    }
    session.Execute("ROLLBACK TO SAVEPOINT understudy_try; RELEASE SAVEPOINT understudy_try");
  }
}

}  // namespace understudy::table_swap
