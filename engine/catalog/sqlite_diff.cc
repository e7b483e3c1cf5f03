#include "engine/catalog/sqlite_diff.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <set>

#include "engine/db/identifier.h"

namespace understudy::catalog {
namespace {
using Kind = SqliteColumnSource::Kind;
using db::DisplayIdentifier;

std::string Fold(std::string_view name) {
  std::string folded(name);
  for (char& c : folded) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return folded;
}

std::string Shown(const std::string& table, const std::string& column) {
  return DisplayIdentifier(table) + "." + DisplayIdentifier(column);
}

std::string ZeroOf(SqliteAffinity affinity) {
  switch (affinity) {
    case SqliteAffinity::kText:
      return "''";
    case SqliteAffinity::kBlob:
      return "x''";
    case SqliteAffinity::kReal:
      return "0.0";
    default:
      return "0";
  }
}

class Differ {
 public:
  Differ(const SqliteSchema& old_schema, const SqliteSchema& new_schema,
         const SqliteColumnChoices& choices)
      : old_(old_schema), new_(new_schema), choices_(choices) {}

  SqliteDiff Run() {
    std::vector<SqliteTablePair> pairs;
    for (const SqliteTable& table : new_.tables) {
      if (table.is_virtual) {
        Object(table.name,
               "is a virtual table, which a copy by rows cannot fill; leave it out of "
               "the schema and make it after the cutover");
        continue;
      }
      const SqliteTable* source = SourceOf(table);
      if (source == nullptr) {
        diff_.added.push_back(table.name);
        diff_.supported.push_back("table " + DisplayIdentifier(table.name) + " is added");
        continue;
      }
      if (source->is_virtual) {
        Object(source->name, "is a virtual table, which triggers cannot watch");
        taken_.insert(Fold(source->name));
        continue;
      }
      if (!taken_.insert(Fold(source->name)).second) {
        Object(table.name, "two tables of the new schema would take the rows of " +
                               DisplayIdentifier(source->name));
        continue;
      }
      pairs.push_back(PairOf(*source, table));
    }
    for (const SqliteTable& table : old_.tables) {
      if (taken_.contains(Fold(table.name))) continue;
      diff_.removed.push_back(table.name);
      diff_.supported.push_back("table " + DisplayIdentifier(table.name) +
                                " is removed; its rows stay in the old file alone");
    }
    for (const auto& [table, columns] : choices_) {
      const SqliteTable* known = new_.Table(table);
      if (known == nullptr) {
        Object(table, "\"columns\" names it, and the new schema has no such table");
        continue;
      }
      for (const auto& [column, choice] : columns) {
        if (known->Column(column) == nullptr) {
          Object(table + "." + column,
                 "\"columns\" names it, and the new schema has no such column");
        }
      }
    }
    CheckObjects();
    Order(std::move(pairs));
    return std::move(diff_);
  }

 private:
  void Object(std::string object, std::string why) {
    diff_.unsupported.push_back({std::move(object), std::move(why)});
  }

  // The old table that a new one is made from.
  const SqliteTable* SourceOf(const SqliteTable& table) {
    const SqliteTable* same = old_.Table(table.name);
    for (const SqliteAnnotation& a : table.annotations) {
      if (a.word != "renamed-from") continue;
      const SqliteTable* named = old_.Table(a.argument);
      const bool about_table =
          a.column.empty() ||
          // A comment of its own before the first column: of whichever has had that name.
          (a.own_line && same == nullptr && named != nullptr &&
           Fold(a.column) == Fold(table.columns.front().name) &&
           named->Column(a.argument) == nullptr);
      if (!about_table) continue;
      if (same != nullptr) return same;  // renamed by an earlier migration
      if (named == nullptr) {
        Object(table.name, "@renamed-from " + a.argument + ": the old file has no such table");
        return nullptr;
      }
      if (new_.Table(a.argument) != nullptr) {
        Object(table.name, "@renamed-from " + a.argument +
                               ": a table of that name is in the new schema as well");
        return nullptr;
      }
      diff_.supported.push_back("table " + DisplayIdentifier(named->name) + " is renamed to " +
                                DisplayIdentifier(table.name));
      return named;
    }
    return same;
  }

  std::string RenamedFrom(const SqliteTable& table, const SqliteColumn& column) const {
    for (const SqliteAnnotation& a : table.annotations) {
      if (a.word == "renamed-from" && Fold(a.column) == Fold(column.name)) return a.argument;
    }
    return "";
  }

  const SqliteColumnChoice* ChoiceOf(const SqliteTable& table, const SqliteColumn& column) const {
    for (const auto& [name, columns] : choices_) {
      if (Fold(name) != Fold(table.name)) continue;
      for (const auto& [of, choice] : columns) {
        if (Fold(of) == Fold(column.name)) return &choice;
      }
    }
    return nullptr;
  }

  SqliteColumnSource Missing(const SqliteTable& table, const SqliteColumn& column) {
    if (table.RowidAlias() == column.name) return {column.name, Kind::kAssigned, ""};
    if (column.default_sql) return {column.name, Kind::kDefault, *column.default_sql};
    if (!column.not_null) return {column.name, Kind::kNull, ""};
    for (const SqliteForeignKey& key : table.foreign_keys) {
      if (std::ranges::find(key.columns, column.name) == key.columns.end()) continue;
      Object(Shown(table.name, column.name),
             "must refer to a row of " + DisplayIdentifier(key.parent) +
                 ", and nothing says to which; give it in \"columns\"");
    }
    if (column.key_place > 0) {
      Object(Shown(table.name, column.name),
             "is in the new primary key and has no source; give it in \"columns\"");
    }
    diff_.warnings.push_back(Shown(table.name, column.name) +
                             " is NOT NULL and has no default: it is filled with " +
                             ZeroOf(column.affinity));
    return {column.name, Kind::kTypeDefault, ZeroOf(column.affinity)};
  }

  SqliteColumnSource SourceOf(const SqliteTable& from, const SqliteTable& to,
                              const SqliteColumn& column, std::set<std::string>& read) {
    const std::string shown = Shown(to.name, column.name);
    if (column.generated != SqliteColumn::Generated::kNo) {
      return {column.name, Kind::kGenerated, ""};
    }
    const auto take = [&](const SqliteColumn& source) -> SqliteColumnSource {
      read.insert(Fold(source.name));
      if (source.affinity != column.affinity) {
        diff_.supported.push_back("column " + shown + " changes its type from " +
                                  (source.type.empty() ? "none" : source.type) + " to " +
                                  (column.type.empty() ? "none" : column.type));
      }
      return {column.name, Kind::kColumn, source.name};
    };
    const SqliteColumn* same = from.Column(column.name);
    if (const SqliteColumnChoice* choice = ChoiceOf(to, column)) {
      if (choice->use_default) return Missing(to, column);
      if (!choice->sql.empty()) {
        diff_.supported.push_back("column " + shown + " is computed: " + choice->sql);
        for (const SqliteColumn& c : from.columns) {  // what it may read is not said to be dropped
          if (Fold(choice->sql).find(Fold(c.name)) != std::string::npos) read.insert(Fold(c.name));
        }
        return {column.name, Kind::kExpression, choice->sql};
      }
      const SqliteColumn* named = from.Column(choice->from);
      if (named != nullptr) {
        diff_.supported.push_back("column " + Shown(from.name, named->name) + " becomes " + shown);
        return take(*named);
      }
      Object(shown, "\"columns\" takes it from " + choice->from + ", and the old table " +
                        DisplayIdentifier(from.name) + " has no such column");
      return {column.name, Kind::kNull, ""};
    }
    if (same != nullptr) return take(*same);
    const std::string before = RenamedFrom(to, column);
    if (!before.empty() && Fold(before) != Fold(from.name)) {
      const SqliteColumn* named = from.Column(before);
      if (named == nullptr) {
        Object(shown, "@renamed-from " + before + ": the old table " +
                          DisplayIdentifier(from.name) + " has no such column");
        return {column.name, Kind::kNull, ""};
      }
      if (to.Column(before) != nullptr) {
        Object(shown, "@renamed-from " + before + ": a column of that name is there as well");
      }
      if (read.contains(Fold(before))) {
        Object(shown, "@renamed-from " + before + ": another column was renamed from it already");
      }
      diff_.supported.push_back("column " + Shown(from.name, named->name) + " is renamed to " +
                                shown);
      return take(*named);
    }
    const SqliteColumnSource missing = Missing(to, column);
    diff_.supported.push_back("column " + shown + " is added, " +
                              (missing.kind == Kind::kDefault ? "with its default " + missing.from
                               : missing.kind == Kind::kAssigned
                                   ? "its values assigned by the new table"
                               : missing.kind == Kind::kTypeDefault ? "filled with " + missing.from
                                                                    : "empty"));
    return missing;
  }

  SqliteTablePair PairOf(const SqliteTable& from, const SqliteTable& to) {
    SqliteTablePair pair;
    pair.old_name = from.name;
    pair.new_name = to.name;
    std::set<std::string> read;
    for (const SqliteColumn& column : to.columns) {
      pair.sources.push_back(SourceOf(from, to, column, read));
    }
    for (const SqliteColumn& column : from.columns) {
      if (read.contains(Fold(column.name)) || column.generated != SqliteColumn::Generated::kNo) {
        continue;
      }
      pair.dropped.push_back(column.name);
      diff_.supported.push_back("column " + Shown(from.name, column.name) + " is removed");
    }
    return pair;
  }

  // What SQLite itself does not refuse when the schema is made: triggers and foreign keys that name
  // what is not there.
  void CheckObjects() {
    for (const SqliteTable& table : new_.tables) {
      for (const SqliteForeignKey& key : table.foreign_keys) {
        const SqliteTable* parent = new_.Table(key.parent);
        if (parent == nullptr) {
          Object(table.name, "a foreign key names " + key.parent + ", which is not in the schema");
          continue;
        }
        if (key.parent_columns.size() != key.columns.size()) {
          Object(table.name, "a foreign key to " + key.parent + " has " +
                                 std::to_string(key.columns.size()) + " columns, the key there " +
                                 std::to_string(key.parent_columns.size()));
        }
        for (const std::string& column : key.parent_columns) {
          if (parent->Column(column) == nullptr) {
            Object(table.name,
                   "a foreign key names " + key.parent + "." + column + ", which is not there");
          }
        }
      }
    }
  }

  // Parents before children; what is in a cycle keeps the schema's order.
  void Order(std::vector<SqliteTablePair> pairs) {
    std::set<std::string> done;
    std::set<std::string> open;
    const std::function<void(const std::string&)> visit = [&](const std::string& name) {
      if (done.contains(Fold(name)) || !open.insert(Fold(name)).second) return;
      const SqliteTable* table = new_.Table(name);
      if (table == nullptr) return;
      for (const SqliteForeignKey& key : table->foreign_keys) visit(key.parent);
      done.insert(Fold(name));
      for (SqliteTablePair& pair : pairs) {
        if (Fold(pair.new_name) == Fold(name)) diff_.pairs.push_back(std::move(pair));
      }
    };
    std::vector<std::string> names;
    for (const SqliteTablePair& pair : pairs) names.push_back(pair.new_name);
    for (const std::string& name : names) visit(name);
  }

  const SqliteSchema& old_;
  const SqliteSchema& new_;
  const SqliteColumnChoices& choices_;
  std::set<std::string> taken_;
  SqliteDiff diff_;
};

}  // namespace

std::string_view SourceKindName(Kind kind) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "column", "expression", "default", "type-default", "null", "assigned", "generated"};
  return kNames[static_cast<std::size_t>(kind)];
}

const SqliteColumnSource* SqliteTablePair::Source(std::string_view new_column) const {
  for (const SqliteColumnSource& source : sources) {
    if (Fold(source.column) == Fold(new_column)) return &source;
  }
  return nullptr;
}

std::string SqliteTablePair::CarriedAs(std::string_view old_column) const {
  for (const SqliteColumnSource& source : sources) {
    if (source.kind == Kind::kColumn && Fold(source.from) == Fold(old_column)) return source.column;
  }
  return "";
}

const SqliteTablePair* SqliteDiff::OfNew(std::string_view table) const {
  for (const SqliteTablePair& pair : pairs) {
    if (Fold(pair.new_name) == Fold(table)) return &pair;
  }
  return nullptr;
}

const SqliteTablePair* SqliteDiff::OfOld(std::string_view table) const {
  for (const SqliteTablePair& pair : pairs) {
    if (Fold(pair.old_name) == Fold(table)) return &pair;
  }
  return nullptr;
}

SqliteDiff DiffSqliteSchemas(const SqliteSchema& old_schema, const SqliteSchema& new_schema,
                             const SqliteColumnChoices& choices) {
  return Differ(old_schema, new_schema, choices).Run();
}

}  // namespace understudy::catalog
