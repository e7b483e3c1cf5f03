#include "harness/compare/differences.h"

namespace understudy::harness {

Differences::Differences(const TablePair& pair, bool sqlite_left, bool sqlite_right,
                         const CompareOptions& options, TableComparison& result)
    : pair_(pair), sqlite_{sqlite_left, sqlite_right}, options_(options), result_(result) {}

Json Differences::Key(const db::Row& key) const {
  if (pair_.key.empty()) return nullptr;
  Json json = Json::object();
  for (std::size_t i = 0; i < pair_.key.size(); ++i) {
    json[pair_.key[i].left->name] = key[i].ToJson();
  }
  return json;
}

Json Differences::Typed(std::size_t column, bool left, const db::Value& value) const {
  if (value.is_null()) return nullptr;
  const ColumnPair& pair = pair_.columns[column];
  std::string type = left ? pair.left->type : pair.right->type;
  if (sqlite_[left ? 0 : 1]) {
    switch (value.storage) {
      case db::Storage::kInteger:
        type = "integer";
        break;
      case db::Storage::kReal:
        type = "real";
        break;
      case db::Storage::kBlob:
        type = "blob";
        break;
      default:
        type = "text";
    }
  }
  return {{"type", type}, {"text", value.ToJson()}};
}

Json Differences::WholeRow(bool left, const db::Value* row) const {
  Json json = Json::object();
  for (std::size_t i = 0; i < pair_.columns.size(); ++i) {
    const ColumnPair& pair = pair_.columns[i];
    json[left ? pair.left->name : pair.right->name] = Typed(i, left, row[i]);
  }
  return json;
}

bool Differences::Explained(const Json& key, const std::string& kind) {
  found_ = true;
  ++seen_;
  return options_.explained && seen_ <= options_.most_differences &&
         options_.explained(result_.table, key, kind);
}

bool Differences::WantsExample() const {
  return static_cast<std::int64_t>(result_.differences.size()) < options_.examples;
}

void Differences::Changed(const db::Row& key, const db::Value* left, const db::Value* right,
                          const std::vector<bool>& differs) {
  const Json named = Key(key);
  if (Explained(named, "changed")) return;
  ++result_.changed;
  for (std::size_t i = 0; i < differs.size(); ++i) {
    if (differs[i]) ++result_.columns[pair_.columns[i].left->name];
  }
  if (!WantsExample()) return;
  RowDifference one{"changed", named, Json::object(), Json::object(), 1, 1};
  for (std::size_t i = 0; i < differs.size(); ++i) {
    if (!differs[i] && !options_.whole_rows) continue;
    one.left[pair_.columns[i].left->name] = Typed(i, true, left[i]);
    one.right[pair_.columns[i].right->name] = Typed(i, false, right[i]);
  }
  result_.differences.push_back(std::move(one));
}

void Differences::OneSided(bool left, const db::Row& key, const db::Value* row) {
  const Json named = Key(key);
  const std::string kind = left ? "missing" : "extra";
  if (Explained(named, kind)) return;
  ++(left ? result_.missing : result_.extra);
  if (!WantsExample()) return;
  RowDifference one{kind, named, nullptr, nullptr, left ? 1 : 0, left ? 0 : 1};
  (left ? one.left : one.right) = WholeRow(left, row);
  result_.differences.push_back(std::move(one));
}

void Differences::Copies(const db::Value* row, bool row_is_left, std::int64_t left,
                         std::int64_t right) {
  if (left == right) return;
  const Json whole = WholeRow(row_is_left, row);
  const std::string kind = left > right ? "missing" : "extra";
  Json texts = Json::object();  // what `explained` gets in place of a key
  for (const auto& [column, value] : whole.items()) {
    texts[column] = value.is_null() ? Json(nullptr) : value.at("text");
  }
  if (Explained(texts, kind)) return;
  (left > right ? result_.missing : result_.extra) += std::abs(left - right);
  if (!WantsExample()) return;
  RowDifference one{kind, nullptr, nullptr, nullptr, left, right};
  if (left > 0) one.left = whole;
  if (right > 0) one.right = whole;
  result_.differences.push_back(std::move(one));
}

}  // namespace understudy::harness
