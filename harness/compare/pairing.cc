#include "harness/compare/pairing.h"

#include <algorithm>
#include <set>

#include "engine/base/error.h"

namespace understudy::harness {
namespace {

std::string DefaultSchema(db::Engine engine) {
  return engine == db::Engine::kPostgres ? "public" : "main";
}

// `map` with its names split into parts. A left table's column is "schema.table.column".
class Renames {
 public:
  Renames(const CompareOptions& options, db::Engine left, db::Engine right)
      : left_(DefaultSchema(left)), right_(DefaultSchema(right)) {
    for (const auto& [from, to] : options.map) map_[Parts(from, left_)] = Parts(to, right_);
  }

  db::TableName Table(const db::TableName& left) const {
    if (const auto it = map_.find({left.schema, left.name}); it != map_.end()) {
      return {it->second.at(0), it->second.at(1)};
    }
    return {left.schema == left_ ? right_ : left.schema, left.name};
  }

  std::string Column(const db::TableName& left, const std::string& column) const {
    const auto it = map_.find({left.schema, left.name, column});
    return it == map_.end() ? column : it->second.back();
  }

 private:
  // Two parts are a table; one of a table in the default schema may stand for three.
  static std::vector<std::string> Parts(const std::string& text, const std::string& schema) {
    std::vector<std::string> parts = db::ParseDottedName(text);
    if (parts.size() == 1) parts.insert(parts.begin(), schema);
    return parts;
  }

  std::string left_;
  std::string right_;
  std::map<std::vector<std::string>, std::vector<std::string>> map_;
};

bool Matches(const std::vector<std::string>& globs, const db::TableName& name) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) {
    const bool bare = glob.find('.') == std::string::npos;
    return db::MatchesGlob(name.Display(), glob) ||
           (bare && db::MatchesGlob(db::DisplayIdentifier(name.name), glob));
  });
}

bool ColumnIgnored(const CompareOptions& options, const db::TableName& left,
                   const db::TableName& right, const std::string& column) {
  const std::string part = "." + db::DisplayIdentifier(column);
  return std::any_of(options.ignore.begin(), options.ignore.end(), [&](const std::string& glob) {
    return db::MatchesGlob(left.Display() + part, glob) ||
           db::MatchesGlob(right.Display() + part, glob);
  });
}

void PairColumns(TablePair& pair, const Renames& renames, const CompareOptions& options,
                 Json& not_checked) {
  const auto note = [&](const CompareTable& table, const CompareColumn& column,
                        const std::string& why) {
    not_checked.push_back(
        {{"what", "column:" + table.name.Display() + "." + db::DisplayIdentifier(column.name)},
         {"why", why}});
  };
  const auto alone = [&](const CompareTable& table, const CompareColumn& column,
                         const std::string& side) {
    if (options.common_columns) {
      note(table, column, "only on the " + side + "; the columns of both sides are compared");
      return;
    }
    pair.one_sided += (pair.one_sided.empty() ? "" : "; ") +
                      ("column " + db::DisplayIdentifier(column.name)) + " is only on the " + side;
  };
  std::set<std::string> taken;
  for (const CompareColumn& column : pair.left->columns) {
    const std::string to = renames.Column(pair.left->name, column.name);
    const CompareColumn* other = pair.right->Find(to);
    const bool ignored = ColumnIgnored(options, pair.left->name, pair.right->name, column.name) ||
                         ColumnIgnored(options, pair.left->name, pair.right->name, to);
    if (other != nullptr) taken.insert(to);
    if (ignored) {
      note(*pair.left, column, "ignored, as asked");
    } else if (other == nullptr) {
      alone(*pair.left, column, "left");
    } else {
      pair.columns.push_back({&column, other});
    }
  }
  for (const CompareColumn& column : pair.right->columns) {
    if (taken.contains(column.name)) continue;
    if (ColumnIgnored(options, pair.left->name, pair.right->name, column.name)) {
      note(*pair.right, column, "ignored, as asked");
    } else {
      alone(*pair.right, column, "right");
    }
  }
}

// The first key of the left that is a key of the right as well, all its columns compared.
void PairKey(TablePair& pair) {
  for (const std::vector<std::string>& key : pair.left->keys) {
    std::vector<ColumnPair> found;
    std::set<std::string> names;
    for (const std::string& column : key) {
      for (const ColumnPair& one : pair.columns) {
        if (one.left->name != column) continue;
        found.push_back(one);
        names.insert(one.right->name);
      }
    }
    if (found.size() != key.size()) continue;
    for (const std::vector<std::string>& other : pair.right->keys) {
      if (std::set<std::string>(other.begin(), other.end()) == names) {
        pair.key = found;
        return;
      }
    }
  }
}

}  // namespace

Pairing PairTables(const CompareTables& left, const CompareTables& right, db::Engine left_engine,
                   db::Engine right_engine, const CompareOptions& options) {
  Pairing pairing;
  const Renames renames(options, left_engine, right_engine);
  const auto wanted = [&](const db::TableName& name) {
    return (options.tables.empty() || Matches(options.tables, name)) &&
           !Matches(options.exclude, name);
  };
  const auto ignored = [&](const db::TableName& name) {
    if (!Matches(options.ignore, name)) return false;
    pairing.not_checked.push_back(
        {{"what", "rows:" + name.Display()}, {"why", "ignored, as asked"}});
    return true;
  };
  for (const auto* notes : {&left.not_checked, &right.not_checked}) {
    for (const NotChecked& note : *notes) {
      const Json json = {{"what", note.what}, {"why", note.why}};
      if (std::find(pairing.not_checked.begin(), pairing.not_checked.end(), json) ==
          pairing.not_checked.end()) {
        pairing.not_checked.push_back(json);
      }
    }
  }
  std::set<db::TableName> taken;
  for (const CompareTable& table : left.tables) {
    const db::TableName to = renames.Table(table.name);
    taken.insert(to);
    if (!wanted(table.name) || ignored(table.name)) continue;
    TablePair pair;
    pair.left = &table;
    for (const CompareTable& other : right.tables) {
      if (other.name == to) pair.right = &other;
    }
    if (pair.right != nullptr) {
      PairColumns(pair, renames, options, pairing.not_checked);
      PairKey(pair);
    }
    pairing.pairs.push_back(std::move(pair));
  }
  for (const CompareTable& table : right.tables) {
    if (taken.contains(table.name) || !wanted(table.name) || ignored(table.name)) continue;
    TablePair pair;
    pair.right = &table;
    pairing.pairs.push_back(std::move(pair));
  }
  return pairing;
}

}  // namespace understudy::harness
