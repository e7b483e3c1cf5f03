#include "engine/hot_copy/references.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>

#include "engine/db/identifier.h"

namespace understudy::hot_copy {
namespace {
using catalog::SqliteAffinity;
using catalog::SqliteColumn;
using catalog::SqliteForeignKey;
using catalog::SqliteIndex;
using catalog::SqliteTable;
using db::DisplayIdentifier;
using db::QuoteIdentifier;

constexpr const char* kBinary = "BINARY";

const char* TypeOf(SqliteAffinity affinity) {
  switch (affinity) {
    case SqliteAffinity::kText:
      return "TEXT";
    case SqliteAffinity::kNumeric:
      return "NUMERIC";
    case SqliteAffinity::kInteger:
      return "INTEGER";
    case SqliteAffinity::kReal:
      return "REAL";
    case SqliteAffinity::kBlob:
      break;
  }
  return "";
}

bool Same(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

bool Holds(const std::vector<std::string>& names, const std::string& name) {
  return std::ranges::any_of(names, [&](const std::string& n) { return Same(n, name); });
}

// The collation by which the parent's key compares: that of the unique index which makes it one.
std::string CollationOf(const SqliteTable& parent, const SqliteForeignKey& key, std::size_t place) {
  for (const SqliteIndex& index : parent.indexes) {
    if (!index.unique || index.partial || index.parts.size() != key.parent_columns.size()) continue;
    std::string found;
    bool all = true;
    for (const auto& part : index.parts) {
      all = all && Holds(key.parent_columns, part.column);
      if (Same(part.column, key.parent_columns[place])) found = part.collation;
    }
    if (all && !found.empty()) return found;
  }
  return kBinary;  // the rowid
}

bool HasFittingIndex(const SqliteTable& child, const SqliteTable& parent,
                     const SqliteForeignKey& key) {
  std::vector<std::string> fits;  // columns that compare as the parent's do
  for (std::size_t i = 0; i < key.columns.size(); ++i) {
    const SqliteColumn* column = child.Column(key.columns[i]);
    const SqliteColumn* referred = parent.Column(key.parent_columns[i]);
    if (column == nullptr || referred == nullptr) return false;
    if (column->affinity != referred->affinity || CollationOf(parent, key, i) != kBinary) {
      return false;
    }
    fits.push_back(key.columns[i]);
  }
  if (key.columns.size() == 1 && Same(child.RowidAlias(), key.columns[0])) return true;
  return std::ranges::any_of(child.indexes, [&](const SqliteIndex& index) {
    return !index.partial && !index.parts.empty() && Holds(fits, index.parts[0].column) &&
           std::ranges::all_of(index.parts, [&](const auto& part) {
             return !Holds(fits, part.column) || part.collation == kBinary;
           });
  });
}

// "a = …, b = …" of a row of `table`, for people.
std::string Shown(const SqliteTable& table, std::vector<std::string> columns) {
  if (columns.empty()) columns = {table.RowidName()};
  std::string shown;
  for (const std::string& column : columns) {
    shown += std::string(shown.empty() ? "" : " || ', ' || ") +
             db::QuoteLiteral(DisplayIdentifier(column) + " ") + " || quote(" +
             QuoteIdentifier(table.name) + "." + QuoteIdentifier(column) + ")";
  }
  return shown;
}

}  // namespace

std::vector<std::string> ReferencesWithoutIndex(const catalog::SqliteSchema& schema) {
  std::vector<std::string> lines;
  for (const SqliteTable& child : schema.tables) {
    for (const SqliteForeignKey& key : child.foreign_keys) {
      const SqliteTable* parent = schema.Table(key.parent);
      if (parent == nullptr || key.columns.size() != key.parent_columns.size()) continue;
      if (HasFittingIndex(child, *parent, key)) continue;
      std::string columns;
      for (const std::string& column : key.columns) {
        columns += (columns.empty() ? "" : ", ") + DisplayIdentifier(column);
      }
      lines.push_back(DisplayIdentifier(child.name) + " (" + columns + ") to " +
                      DisplayIdentifier(parent->name));
    }
  }
  return lines;
}

TouchedReferences::TouchedReferences(db::Session& session, const catalog::SqliteSchema& schema)
    : session_(session) {
  for (const SqliteTable& child : schema.tables) {
    for (const SqliteForeignKey& key : child.foreign_keys) {
      const SqliteTable* parent = schema.Table(key.parent);
      if (parent == nullptr || key.columns.size() != key.parent_columns.size()) continue;
      Reference reference{&child, &key, parent};
      reference.gone = "temp.gone_" + std::to_string(references_.size());
      reference.indexed = HasFittingIndex(child, *parent, key);
      references_.push_back(std::move(reference));
    }
  }
  for (std::size_t n = 0; n < references_.size(); ++n) {
    const Reference& reference = references_[n];
    std::string columns;
    std::string names;
    for (std::size_t i = 0; i < reference.key->columns.size(); ++i) {
      const SqliteColumn* column = reference.parent->Column(reference.key->parent_columns[i]);
      const std::string name = "k" + std::to_string(i);
      columns += (columns.empty() ? "" : ", ") + name + " " +
                 (column == nullptr ? "" : TypeOf(column->affinity)) + " COLLATE " +
                 QuoteIdentifier(CollationOf(*reference.parent, *reference.key, i));
      names += (names.empty() ? "" : ", ") + name;
    }
    session_.Execute("CREATE TABLE " + reference.gone + "(" + columns + ")");
    session_.Execute("CREATE INDEX " + reference.gone + "_k ON gone_" + std::to_string(n) + "(" +
                     names + ")");
  }
}

void TouchedReferences::Remember(const std::vector<const TableWork*>& touched) {
  for (const Reference& reference : references_) {
    session_.Execute("DELETE FROM " + reference.gone);
    for (const TableWork* work : touched) {
      if (work->to != reference.parent) continue;
      std::string columns;
      for (const std::string& column : reference.key->parent_columns) {
        columns += (columns.empty() ? "" : ", ") + QuoteIdentifier(column);
      }
      session_.Execute("INSERT INTO " + reference.gone + " SELECT " + columns + " FROM " +
                       work->New() + " WHERE " + work->NewIsDirty());
    }
  }
}

std::string TouchedReferences::Broken(const std::vector<const TableWork*>& touched) {
  for (const Reference& reference : references_) {
    const std::string child = QuoteIdentifier(reference.child->name);
    const std::string parent = "main." + QuoteIdentifier(reference.parent->name);
    std::string some;       // the child refers to something
    std::string refers;     // … to the row p of the parent; its side stands left, and governs
    std::string gone_is;    // … to the key g that went, by the parent's rules
    std::string is_gone;    // the same, by an index of the child
    std::string is_parent;  // the key g is that of the row p
    for (std::size_t i = 0; i < reference.key->columns.size(); ++i) {
      const std::string own = child + "." + QuoteIdentifier(reference.key->columns[i]);
      const std::string theirs = "p." + QuoteIdentifier(reference.key->parent_columns[i]);
      const std::string key = "k" + std::to_string(i);
      const std::string gone_key = "g." + key;
      const std::string with = i == 0 ? "" : " AND ";
      some += with + own + " IS NOT NULL";
      refers += with + theirs + " = +" + own;
      gone_is += with + gone_key + " = +" + own;
      is_gone += with + own + " = +" + gone_key;
      is_parent += with + theirs + " = +gone." + key;
    }
    std::optional<db::Value> wrong;
    const auto shown = Shown(*reference.child, reference.child->PrimaryKey()) + " || ' (' || " +
                       Shown(*reference.child, reference.key->columns) + " || ')'";
    for (const TableWork* work : touched) {
      if (work->to != reference.child || wrong) continue;
      wrong = session_.MaybeScalar(
          "SELECT " + shown + " FROM " + work->New() + " WHERE " + work->NewIsDirty() + " AND " +
          some + " AND NOT EXISTS (SELECT 1 FROM " + parent + " p WHERE " + refers + ") LIMIT 1");
    }
    const bool parent_touched = std::ranges::any_of(
        touched, [&](const TableWork* work) { return work->to == reference.parent; });
    if (!wrong && parent_touched) {
      session_.Execute("DELETE FROM " + reference.gone + " AS gone WHERE EXISTS (SELECT 1 FROM " +
                       parent + " p WHERE " + is_parent + ")");
      const bool any =
          session_.Scalar("SELECT EXISTS (SELECT 1 FROM " + reference.gone + ")").AsBool();
      const std::string rows = "main." + child;
      if (any && reference.indexed) {
        wrong = session_.MaybeScalar("SELECT " + shown + " FROM " + reference.gone +
                                     " g CROSS JOIN " + rows + " ON " + is_gone + " LIMIT 1");
      } else if (any) {
        wrong = session_.MaybeScalar("SELECT " + shown + " FROM " + rows + " CROSS JOIN " +
                                     reference.gone + " g ON " + gone_is + " LIMIT 1");
      }
    }
    if (wrong) {
      return "the row " + wrong->text + " of " + DisplayIdentifier(reference.child->name) +
             " refers to no row of " + DisplayIdentifier(reference.parent->name);
    }
  }
  return "";
}

}  // namespace understudy::hot_copy
