#include "engine/hot_copy/table_work.h"

#include <algorithm>
#include <cctype>
#include <functional>
#include <set>

#include "engine/capture/sqlite_capture.h"
#include "engine/db/identifier.h"

namespace understudy::hot_copy {
namespace {
using catalog::SqliteAffinity;
using catalog::SqliteColumn;
using catalog::SqliteColumnSource;
using catalog::SqliteDiff;
using catalog::SqliteForeignKey;
using catalog::SqliteIndex;
using catalog::SqliteSchema;
using catalog::SqliteTable;
using catalog::SqliteTablePair;
using db::DisplayIdentifier;
using db::QuoteIdentifier;
using db::QuoteLiteral;
using Kind = SqliteColumnSource::Kind;

bool Same(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

std::string Joined(const std::vector<std::string>& parts, const std::string& between) {
  std::string all;
  for (const std::string& part : parts) all += (all.empty() ? "" : between) + part;
  return all;
}

std::string List(const std::vector<std::string>& names, const std::string& prefix) {
  std::vector<std::string> quoted;
  for (const std::string& name : names) quoted.push_back(prefix + QuoteIdentifier(name));
  return Joined(quoted, ", ");
}

bool IsNumber(SqliteAffinity affinity) {
  return affinity != SqliteAffinity::kBlob && affinity != SqliteAffinity::kText;
}

// Of a column, or of the rowid under whatever name.
SqliteAffinity AffinityOf(const SqliteTable& table, const std::string& name) {
  const SqliteColumn* column = table.Column(name);
  if (column == nullptr) return SqliteAffinity::kInteger;
  if (table.strict && Same(column->type, "ANY")) return SqliteAffinity::kBlob;
  return column->affinity;
}

std::string TypeOf(SqliteAffinity affinity) {
  switch (affinity) {
    case SqliteAffinity::kText:
      return "TEXT";
    case SqliteAffinity::kReal:
      return "REAL";
    case SqliteAffinity::kBlob:
      return "";
    default:
      return "NUMERIC";
  }
}

// What a column of this type makes of `value`.
std::string As(const std::string& type, const std::string& value) {
  if (type.empty()) return value;
  const std::string cast = "CAST(" + value + " AS " + type + ")";
  if (type == "TEXT") {
    return "(CASE WHEN typeof(" + value + ") IN ('integer', 'real') THEN " + cast + " ELSE " +
           value + " END)";
  }
  // The comparison makes a number of a text that is one, and of no other.
  return "(CASE WHEN " + cast + " = +" + value + " THEN " + cast + " ELSE " + value + " END)";
}

// That `is`, as a column of the one affinity holds it, was `was` in a column of the other, and
// could have been no other value there; "" where that needs no asking.
std::string TellsApart(SqliteAffinity from, SqliteAffinity to, const std::string& is,
                       const std::string& was) {
  const auto number = [](const std::string& value) {
    return "typeof(" + value + ") IN ('integer', 'real')";
  };
  const auto back = [&](const std::string& when, const char* type) {
    return "(CASE WHEN " + when + " THEN CAST(" + is + " AS " + type + ") ELSE " + is +
           " END) COLLATE BINARY IS " + was;
  };
  if (to == SqliteAffinity::kBlob || from == to || (IsNumber(from) && IsNumber(to))) return "";
  if (from == SqliteAffinity::kBlob) return "(" + number(is) + ") = (" + number(was) + ")";
  return from == SqliteAffinity::kText ? back("typeof(" + was + ") = 'text'", "TEXT")
                                       : back(number(was), "NUMERIC");
}

// The columns of the primary key are among the rows of `select`, each compared as the key compares
// it, whatever its own collation: so they are one row's.
std::string InRows(const SqliteTable& table, const std::vector<std::string>& columns,
                   const std::string& prefix, const std::string& select) {
  std::vector<std::string> list;
  for (const std::string& column : columns) {
    std::string collation;
    for (const SqliteIndex& index : table.indexes) {
      if (index.origin != SqliteIndex::Origin::kPrimaryKey) continue;
      for (const auto& part : index.parts) {
        if (Same(part.column, column)) collation = " COLLATE " + QuoteIdentifier(part.collation);
      }
    }
    list.push_back(prefix + QuoteIdentifier(column) + collation);
  }
  const std::string in = " IN (" + select + ")";
  if (columns.size() == 1) return list[0] + in;
  const std::string plain = "(" + List(columns, prefix) + ")" + in;
  // SQLite finds several columns by an index only where they stand without a collation.
  return catalog::NormalSqliteSql(table.sql).find("collate") == std::string::npos
             ? plain
             : plain + " AND (" + Joined(list, ", ") + ")" + in;
}

class Planner {
 public:
  Planner(const SqliteSchema& old_schema, const SqliteSchema& new_schema, SqliteDiff& diff,
          const std::map<std::string, std::int64_t>& seeds)
      : old_(old_schema), new_(new_schema), diff_(diff), seeds_(seeds) {}

  std::vector<TableWork> Run() {
    for (const SqliteTablePair& pair : diff_.pairs) {
      TableWork work;
      work.pair = &pair;
      work.from = old_.Table(pair.old_name);
      work.to = new_.Table(pair.new_name);
      work.number = static_cast<int>(works_.size());
      const auto seeded = seeds_.find(pair.new_name);
      work.seeded = seeded != seeds_.end() && seeded->second > 0;
      Identify(work);
      works_.push_back(std::move(work));
    }
    for (TableWork& work : works_) Project(work);
    return std::move(works_);
  }

 private:
  void Object(const std::string& object, std::string why) {
    diff_.unsupported.push_back({DisplayIdentifier(object), std::move(why)});
  }

  void Identify(TableWork& work) {
    const SqliteTable& from = *work.from;
    const SqliteTable& to = *work.to;
    const std::string rowid = from.RowidName();
    const std::string alias = from.RowidAlias();
    const std::vector<std::string> declared = from.PrimaryKey();
    const bool certain = std::ranges::all_of(declared, [&](const std::string& column) {
      return Same(column, alias) || from.Column(column)->not_null;
    });
    work.new_rowid = to.without_rowid           ? ""
                     : !to.RowidAlias().empty() ? to.RowidAlias()
                                                : to.RowidName();
    if (!alias.empty()) {
      work.cursor = {alias};
    } else if (!rowid.empty()) {
      work.cursor = {rowid};
    } else if (!declared.empty() && certain) {
      work.cursor = declared;
    } else {
      Object(from.name,
             "has no usable key: its primary key may be NULL, and columns of its own "
             "are named rowid, _rowid_ and oid");
      return;
    }
    const std::string new_alias = to.RowidAlias();
    const bool assigns =
        !new_alias.empty() && work.pair->Source(new_alias)->kind == Kind::kAssigned;
    // The declared key, where the new table holds it as it is.
    std::vector<std::string> carried;
    for (const std::string& column : declared) {
      const std::string as = work.pair->CarriedAs(column);
      if (!as.empty()) carried.push_back(as);
    }
    if (!declared.empty() && carried.size() == declared.size() && !assigns) {
      work.key = declared;
      work.new_key = carried;
    } else if (declared.empty() && !work.new_rowid.empty() && (new_alias.empty() || assigns)) {
      work.key = {rowid};  // a rowid goes over as it is, whether it has a name there or not
      work.new_key = {work.new_rowid};
    } else if (!work.new_rowid.empty()) {
      work.key = declared.empty() ? work.cursor : declared;
      work.assigned = true;
    } else {
      // The new primary key is made of other columns: rows are told by those.
      for (const std::string& column : to.PrimaryKey()) {
        const SqliteColumnSource* source = work.pair->Source(column);
        if (source->kind != Kind::kColumn) {
          Object(to.name,
                 "its new primary key does not come from columns of the old table, so "
                 "that its rows cannot be told apart while they change");
          return;
        }
        work.key.push_back(source->from);
        work.new_key.push_back(column);
      }
    }
    const bool one_number =
        work.new_key.size() == 1 && !new_alias.empty() && Same(work.new_key[0], new_alias);
    work.mapped = work.assigned || (work.seeded && one_number);
    if (work.assigned && !new_alias.empty() && !assigns &&
        work.pair->Source(new_alias)->kind != Kind::kAssigned) {
      // INTEGER PRIMARY KEY from a column that is no key of the old table.
      const SqliteColumnSource* source = work.pair->Source(new_alias);
      if (source->kind == Kind::kColumn) {
        work.key = {source->from};
        work.new_key = {new_alias};
        work.assigned = false;
        work.mapped = work.seeded;
      } else {
        Object(to.name,
               "its INTEGER PRIMARY KEY is computed, so that its rows cannot be told apart "
               "while they change");
      }
    }
  }

  const TableWork* OfNew(std::string_view name) const {
    for (const TableWork& work : works_) {
      if (Same(work.to->name, name)) return &work;
    }
    return nullptr;
  }
  const TableWork* OfOld(std::string_view name) const {
    for (const TableWork& work : works_) {
      if (Same(work.from->name, name)) return &work;
    }
    return nullptr;
  }

  // The mapped table whose keys the new column holds, when it takes them from an old column.
  const TableWork* TranslatorOf(const TableWork& work, const std::string& column,
                                std::set<std::string> seen = {}) const {
    if (!seen.insert(work.to->name + "." + column).second) return nullptr;
    if (work.mapped && !work.assigned && Same(column, work.new_key[0])) return &work;
    const SqliteColumnSource* source = work.pair->Source(column);
    if (source == nullptr || source->kind != Kind::kColumn) return nullptr;
    const auto through = [&](const TableWork* parent, const std::string& parent_new_column,
                             bool whole) -> const TableWork* {
      if (parent == nullptr) return nullptr;
      if (parent->mapped && whole && parent->key.size() == 1 &&
          Same(parent_new_column, parent->new_rowid)) {
        return parent;
      }
      return TranslatorOf(*parent, parent_new_column, seen);
    };
    for (const SqliteForeignKey& key : work.to->foreign_keys) {
      for (std::size_t i = 0; i < key.columns.size() && i < key.parent_columns.size(); ++i) {
        if (!Same(key.columns[i], column)) continue;
        if (const TableWork* found =
                through(OfNew(key.parent), key.parent_columns[i], key.columns.size() == 1)) {
          return found;
        }
      }
    }
    for (const SqliteForeignKey& key : work.from->foreign_keys) {
      for (std::size_t i = 0; i < key.columns.size() && i < key.parent_columns.size(); ++i) {
        if (!Same(key.columns[i], source->from)) continue;
        const TableWork* parent = OfOld(key.parent);
        if (parent == nullptr) continue;
        const bool is_key = parent->key.size() == 1 && Same(parent->key[0], key.parent_columns[i]);
        if (parent->mapped && parent->assigned && is_key && key.columns.size() == 1) {
          // Only where the new column is to hold the parent's new key: a key that the new parent
          // still carries as a column of its own needs no translation.
          if (parent->pair->CarriedAs(key.parent_columns[i]).empty()) return parent;
          continue;
        }
        const std::string carried = parent->pair->CarriedAs(key.parent_columns[i]);
        if (carried.empty()) continue;
        if (const TableWork* found = through(parent, carried, key.columns.size() == 1)) {
          return found;
        }
      }
    }
    return nullptr;
  }

  void Project(TableWork& work) {
    if (work.key.empty()) return;
    const std::string new_alias = work.to->RowidAlias();
    // The rowid, where it is no column that has a source of its own.
    if (work.assigned && !work.new_rowid.empty()) {
      work.columns.push_back(QuoteIdentifier(work.new_rowid));
      work.expressions.push_back(Own(work).Translate(work.OldId("o")));
    } else if (work.new_key.size() == 1 && Same(work.new_key[0], work.new_rowid) &&
               (new_alias.empty() || work.pair->Source(new_alias)->kind == Kind::kAssigned)) {
      work.columns.push_back(QuoteIdentifier(work.new_rowid));
      work.expressions.push_back("o." + QuoteIdentifier(work.key[0]));
    }
    for (const SqliteColumnSource& source : work.pair->sources) {
      std::string expression;
      bool converted = false;
      switch (source.kind) {
        case Kind::kColumn: {
          expression = "o." + QuoteIdentifier(source.from);
          converted =
              work.from->Column(source.from)->affinity != work.to->Column(source.column)->affinity;
          if (const TableWork* parent = TranslatorOf(work, source.column)) {
            const Referred referred = Refer(work, source.from, *parent);
            if (parent->assigned) {
              work.refers.emplace_back(referred.table, referred.OldKey(expression));
              work.refers_loosely = work.refers_loosely || !referred.loose.empty();
            }
            if (parent->seeded && parent->key.size() == 1 &&
                (parent != &work || !Same(source.from, work.key[0]))) {
              work.seeded_parents.emplace_back(referred.table, referred.OldKey(expression));
            }
            expression = referred.Translate(expression);
            // The mapping holds whole numbers.
            converted =
                converted || AffinityOf(*work.to, source.column) != SqliteAffinity::kInteger;
          }
          break;
        }
        case Kind::kExpression:
          expression =
              "(SELECT " + source.from + " FROM (SELECT " + List(OldColumns(work), "o.") + "))";
          converted = true;
          break;
        case Kind::kTypeDefault:
          expression = source.from;
          break;
        default:
          continue;
      }
      const std::string column = QuoteIdentifier(source.column);
      work.columns.push_back(column);
      work.expressions.push_back(expression);
      work.compared.push_back({column, expression, converted});
    }
    if (work.columns.empty()) {
      Object(work.to->name, "nothing of the old table goes into the new one");
    }
    for (std::size_t i = 0; i < work.key.size(); ++i) {
      Referred by;
      if (!work.assigned) {
        if (const TableWork* parent = TranslatorOf(work, work.new_key[i])) {
          by = parent == &work ? Own(work) : Refer(work, work.key[i], *parent);
          if (!by.loose.empty()) {
            Object(work.to->name, "its key column " + DisplayIdentifier(work.key[i]) +
                                      " refers to keys that are assigned anew and are compared by "
                                      "another collation than BINARY");
          }
        }
        const bool converts = !TellsApart(AffinityOf(*work.from, work.key[i]),
                                          AffinityOf(*work.to, work.new_key[i]), "n", "o")
                                   .empty();
        if (converts && work.mapped) {
          Object(work.to->name,
                 "its key changes its type, and the schema gives it rows that may have the same");
        }
        work.key_converts = work.key_converts || (converts && by.empty());
      }
      work.translators.push_back(by);
    }
  }

  static Referred Own(const TableWork& work) {
    return {.table = work.to->name, .assigned = work.assigned};
  }

  static Referred Refer(const TableWork& work, const std::string& column, const TableWork& parent) {
    Referred referred = Own(parent);
    if (parent.key.size() > 1) return referred;
    const std::string& key = parent.key[0];
    const SqliteAffinity affinity = AffinityOf(*parent.from, key);
    if (affinity != AffinityOf(*work.from, column)) referred.type = TypeOf(affinity);
    for (const SqliteIndex& index : parent.from->indexes) {
      if (!index.unique || index.partial || index.parts.size() != 1) continue;
      if (!Same(index.parts[0].column, key) || Same(index.parts[0].collation, "BINARY")) continue;
      referred.loose = parent.Old();
      referred.column = key;
    }
    return referred;
  }

  static std::vector<std::string> OldColumns(const TableWork& work) {
    std::vector<std::string> names;
    for (const SqliteColumn& column : work.from->columns) names.push_back(column.name);
    return names;
  }

  const SqliteSchema& old_;
  const SqliteSchema& new_;
  SqliteDiff& diff_;
  const std::map<std::string, std::int64_t>& seeds_;
  std::vector<TableWork> works_;
};

}  // namespace

std::string Referred::OldKey(const std::string& value) const {
  const std::string as = As(type, value);
  if (loose.empty()) return as;
  // As the parent has it; where it has none, the value stands for itself.
  return "coalesce((SELECT p." + QuoteIdentifier(column) + " FROM " + loose + " p WHERE p." +
         QuoteIdentifier(column) + " = +" + value + "), " + as + ")";
}

std::string Referred::Translate(const std::string& value) const {
  if (table.empty()) return value;
  const std::string found =
      "(SELECT m.new_id FROM main._id_mapping m WHERE m.table_name = " + QuoteLiteral(table) +
      " AND m.old_id = +" + OldKey(value) + ")";
  return assigned ? found : "coalesce(" + found + ", " + value + ")";
}

std::string TableWork::Old() const { return "old." + QuoteIdentifier(from->name); }
std::string TableWork::New() const { return "main." + QuoteIdentifier(to->name); }
std::string TableWork::Dirty() const { return "temp.dirty_" + std::to_string(number); }
std::string TableWork::Literal() const { return QuoteLiteral(to->name); }

bool TableWork::by_integer() const {
  return key.size() == 1 && cursor.size() == 1 && Same(key[0], cursor[0]) && !from->without_rowid;
}

bool TableWork::key_is_indexed() const {
  if (key.size() == 1 && cursor.size() == 1 && Same(key[0], cursor[0])) return true;
  return std::ranges::any_of(from->indexes, [&](const catalog::SqliteIndex& index) {
    return !index.partial && !index.parts.empty() && Same(index.parts[0].column, key[0]);
  });
}

std::string TableWork::OldId(const std::string& row) const {
  if (key.size() == 1) return row + "." + QuoteIdentifier(key[0]);
  return "(" + capture::SqliteKeySql(*from, key, row) + ")";
}

std::string TableWork::OldIsDirty() const {
  if (by_integer()) return "o." + QuoteIdentifier(key[0]) + " IN (SELECT k0 FROM " + Dirty() + ")";
  std::string same;  // the very value, whatever the column's collation takes for the same
  for (std::size_t i = 0; i < key.size(); ++i) {
    const std::string column = "x." + QuoteIdentifier(key[i]);
    const std::string is = " IS d.k" + std::to_string(i);
    same += (i == 0 ? "" : " AND ") + column + is + " AND " + column + " COLLATE BINARY" + is;
  }
  return InRows(*from, cursor, "o.",
                "SELECT " + List(cursor, "x.") + " FROM " + Dirty() + " d CROSS JOIN " + Old() +
                    " x ON " + same);
}

std::string TableWork::HasKey(const std::string& row,
                              const std::vector<std::string>& values) const {
  std::string same;
  for (std::size_t i = 0; i < new_key.size(); ++i) {
    const std::string column = row + "." + QuoteIdentifier(new_key[i]);
    // The first is what an index finds; the rest tells the row from its like.
    same += (i == 0 ? "" : " AND ") + column + " IS " + translators[i].Translate(values[i]);
    if (!translators[i].empty() || Same(new_key[i], new_rowid)) continue;
    same += " AND " + column + " COLLATE BINARY IS " + values[i];
  }
  return same + (key_converts ? " AND " + TellApart(row, values) : "");
}

std::string TableWork::KeyIsLost() const {
  std::vector<std::string> values;
  for (const std::string& column : key) values.push_back("o." + QuoteIdentifier(column));
  return "NOT (" + TellApart("", values) + ")";
}

// `row`: of the new table; "" = what its key columns would make of the values.
std::string TableWork::TellApart(const std::string& row,
                                 const std::vector<std::string>& values) const {
  std::string all;
  for (std::size_t i = 0; i < new_key.size(); ++i) {
    if (!translators[i].empty()) continue;
    const SqliteAffinity was = AffinityOf(*from, key[i]);
    const SqliteAffinity is = AffinityOf(*to, new_key[i]);
    const std::string one = TellsApart(
        was, is, row.empty() ? As(TypeOf(is), values[i]) : row + "." + QuoteIdentifier(new_key[i]),
        values[i]);
    if (!one.empty()) all += (all.empty() ? "" : " AND ") + one;
  }
  return all.empty() ? "1" : all;
}

std::string TableWork::NewIsDirty() const {
  const std::string rowid = new_rowid.empty() ? "" : QuoteIdentifier(new_rowid);
  if (assigned) {
    return rowid + " IN (SELECT m.new_id FROM " + Dirty() +
           " d CROSS JOIN main._id_mapping m ON m.table_name = " + Literal() +
           " AND m.old_id = d.id)";
  }
  if (new_key.size() == 1 && Same(new_key[0], new_rowid) && (mapped || translators[0].empty())) {
    if (key_converts) {
      return rowid + " IN (SELECT k0 FROM " + Dirty() + " d WHERE " + TellApart("", {"d.k0"}) + ")";
    }
    if (!mapped) return rowid + " IN (SELECT k0 FROM " + Dirty() + ")";
    // A key that was never mapped is not ours to delete when a seed, or a row that gave way to one,
    // lives there.
    return rowid + " IN (SELECT coalesce(m.new_id, d.k0) FROM " + Dirty() +
           " d LEFT JOIN main._id_mapping m ON m.table_name = " + Literal() +
           " AND m.old_id = d.k0 WHERE m.new_id IS NOT NULL OR (NOT EXISTS (SELECT 1 FROM "
           "main._id_mapping t WHERE t.table_name = " +
           Literal() +
           " AND t.new_id = d.k0) AND NOT EXISTS (SELECT 1 FROM main._understudy_seeds "
           "s WHERE s.table_name = " +
           Literal() + " AND s.id = d.k0)))";
  }
  std::vector<std::string> values;
  for (std::size_t i = 0; i < key.size(); ++i) values.push_back("+d.k" + std::to_string(i));
  std::string same = HasKey("u", values);
  if (seeded && !key_converts) {
    // A row of the schema's gives way to one whose key the new table takes for the same.
    std::string alike;
    std::string kept;
    for (std::size_t i = 0; i < key.size(); ++i) {
      const std::string is = "u." + QuoteIdentifier(new_key[i]);
      const std::string was = "x." + QuoteIdentifier(key[i]);
      alike += (i == 0 ? "" : " AND ") + is + " IS " + translators[i].Translate(values[i]);
      kept += (i == 0 ? "" : " AND ") + translators[i].Translate(was) + " IS " + is;
      if (translators[i].empty()) kept += " AND " + was + " COLLATE BINARY IS " + is;
    }
    same = alike + " AND ((" + same + ") OR NOT EXISTS (SELECT 1 FROM " + Old() + " x WHERE " +
           kept + "))";
  }
  const std::string rows = " FROM " + Dirty() + " d CROSS JOIN " + New() + " u ON " + same;
  if (!rowid.empty()) return rowid + " IN (SELECT u." + rowid + rows + ")";
  const std::vector<std::string> primary = to->PrimaryKey();
  return InRows(*to, primary, "", "SELECT " + List(primary, "u.") + rows);
}

std::string TableWork::IsImage() const {
  if (assigned) {
    return "n." + QuoteIdentifier(new_rowid) + " = " +
           Referred{.table = to->name, .assigned = true}.Translate(OldId("o"));
  }
  std::vector<std::string> values;
  for (const std::string& column : key) values.push_back("o." + QuoteIdentifier(column));
  return HasKey("n", values);
}

std::string TableWork::Matches() const {
  std::string left;
  std::string right;
  std::string converted;
  for (const Compared& one : compared) {
    if (one.converted) {
      converted += " AND n." + one.column + " COLLATE BINARY IS +" + one.expression;
    } else {
      left += ", n." + one.column;
      right += ", " + one.expression;
    }
  }
  return "understudy_hash(0" + left + ") = understudy_hash(0" + right + ")" + converted;
}

std::string TableWork::ShownKey() const {
  std::string shown;
  for (const std::string& column : key) {
    shown += (shown.empty() ? "" : " || ', ' || ") + ("quote(o." + QuoteIdentifier(column)) + ")";
  }
  return shown;
}

std::vector<TableWork> PlanTables(const SqliteSchema& old_schema, const SqliteSchema& new_schema,
                                  SqliteDiff& diff,
                                  const std::map<std::string, std::int64_t>& seeds) {
  return Planner(old_schema, new_schema, diff, seeds).Run();
}

}  // namespace understudy::hot_copy
