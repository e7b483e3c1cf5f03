#include "harness/world/rows_description.h"

#include <algorithm>
#include <cmath>

namespace understudy::harness::internal {
namespace {

// A key as a JSON pointer writes it.
std::string Escaped(std::string_view key) {
  std::string escaped;
  for (const char c : key) {
    if (c == '~') {
      escaped += "~0";
    } else if (c == '/') {
      escaped += "~1";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

class Reader {
 public:
  Reader(std::string_view where, const Schema& schema, double scale)
      : where_(where), schema_(schema), scale_(scale) {}

  RowsDescription Read(const Json& json) {
    RowsDescription description;
    description.where = where_;
    NeedObject(json, "", {"tables", "default_rows"});
    std::int64_t default_rows = 0;
    if (json.contains("default_rows")) default_rows = Count(json["default_rows"], "/default_rows");
    if (!json.contains("tables")) Fail("", "the key tables is missing");
    const Json& tables = json["tables"];
    if (!tables.is_object()) Fail("/tables", "must be an object: table names → rows");
    for (const auto& [name, table] : tables.items()) {
      const std::string pointer = "/tables/" + Escaped(name);
      const SchemaTable* known = Find(name, pointer);
      if (description.tables.contains(known->name)) Fail(pointer, "this table stands here twice");
      description.tables[known->name] = ReadTable(table, *known, pointer, default_rows);
    }
    for (const SchemaTable& table : schema_.tables) {
      if (default_rows == 0 || description.tables.contains(table.name)) continue;
      TableDescription& all_derived = description.tables[table.name];
      all_derived.rows = Scaled(default_rows);
      all_derived.pointer = "/default_rows";
    }
    return description;
  }

 private:
  [[noreturn]] void Fail(const std::string& pointer, const std::string& what) const {
    FailAt(where_, pointer, what);
  }

  void NeedObject(const Json& json, const std::string& pointer,
                  const std::vector<std::string>& allowed) const {
    if (!json.is_object()) Fail(pointer, "must be an object");
    for (const auto& [key, value] : json.items()) {
      if (std::find(allowed.begin(), allowed.end(), key) != allowed.end()) continue;
      std::string list;
      for (const std::string& one : allowed) list += (list.empty() ? "" : ", ") + one;
      Fail(pointer + "/" + Escaped(key), "unknown key; allowed: " + list);
    }
  }

  const SchemaTable* Find(const std::string& name, const std::string& pointer) const {
    const std::string schema = schema_.engine == db::Engine::kPostgres ? "public" : "main";
    const db::TableName wanted = db::TableName::Parse(name, schema);
    const SchemaTable* table = schema_.Find(wanted);
    if (table != nullptr) return table;
    std::string known;
    for (const SchemaTable& one : schema_.tables) {
      if (known.size() > 300) break;
      known += (known.empty() ? "" : ", ") + one.name.Display();
    }
    Fail(pointer, "no such table; the database has: " + (known.empty() ? "none" : known));
  }

  std::int64_t Count(const Json& json, const std::string& pointer) const {
    if (!json.is_number_integer() || json.get<std::int64_t>() < 0) {
      Fail(pointer, "must be a whole number, 0 or more");
    }
    return json.get<std::int64_t>();
  }

  std::int64_t Scaled(std::int64_t rows) const {
    if (rows == 0) return 0;
    return std::max<std::int64_t>(1, std::llround(static_cast<double>(rows) * scale_));
  }

  TableDescription ReadTable(const Json& json, const SchemaTable& table, const std::string& pointer,
                             std::int64_t default_rows) const {
    NeedObject(json, pointer, {"rows", "columns"});
    TableDescription description;
    description.pointer = pointer;
    description.rows =
        Scaled(json.contains("rows") ? Count(json["rows"], pointer + "/rows") : default_rows);
    if (!json.contains("rows") && default_rows == 0) Fail(pointer, "the key rows is missing");
    if (!json.contains("columns")) return description;
    const Json& columns = json["columns"];
    if (!columns.is_object()) Fail(pointer + "/columns", "must be an object");
    for (const auto& [name, column] : columns.items()) {
      const std::string at = pointer + "/columns/" + Escaped(name);
      const SchemaColumn* known = table.Column(name);
      if (known == nullptr) {
        std::string list;
        for (const SchemaColumn& one : table.columns) list += (list.empty() ? "" : ", ") + one.name;
        Fail(at, "no such column; the table has: " + list);
      }
      if (known->generated) Fail(at, "a generated column: the database makes its values");
      description.columns[name] = ReadColumn(column, *known, table, at);
    }
    return description;
  }

  // A JSON value as the database would read it.
  std::string TextOf(const Json& json, const std::string& pointer) const {
    if (json.is_string()) return json.get<std::string>();
    if (json.is_boolean() || json.is_number()) return json.dump();
    Fail(pointer, "must be a text, a number or a boolean");
  }

  std::pair<std::string, std::string> Range(const Json& json, const std::string& pointer) const {
    if (!json.is_array() || json.size() != 2) Fail(pointer, "must be [low, high]");
    return {TextOf(json[0], pointer + "/0"), TextOf(json[1], pointer + "/1")};
  }

  ColumnDescription ReadColumn(const Json& json, const SchemaColumn& column,
                               const SchemaTable& table, const std::string& pointer) const {
    static const std::vector<std::string> kWays = {"values", "uniform",  "zipf",
                                                   "text",   "pattern",  "foreign_key",
                                                   "value",  "sequence", "default"};
    std::vector<std::string> allowed = kWays;
    allowed.insert(allowed.end(), {"null_share", "unique"});
    NeedObject(json, pointer, allowed);
    ColumnDescription description;
    description.pointer = pointer;
    std::string way;
    for (const auto& [key, value] : json.items()) {
      if (std::find(kWays.begin(), kWays.end(), key) == kWays.end()) continue;
      if (!way.empty()) Fail(pointer, "both " + way + " and " + key + ": only one of them");
      way = key;
    }
    const std::string at = pointer + "/" + way;
    if (way == "values") ReadValues(json[way], at, description);
    if (way == "uniform") description.uniform = Range(json[way], at);
    if (way == "zipf") description.zipf = Range(json[way], at);
    if (way == "pattern") description.pattern = TextOf(json[way], at);
    if (way == "value") description.value = TextOf(json[way], at);
    if (way == "text") {
      const Json& range = json[way];
      const bool fits = range.is_array() && range.size() == 2 && range[0].is_number_integer() &&
                        range[1].is_number_integer() && range[0].get<int>() >= 0 &&
                        range[0].get<int>() <= range[1].get<int>();
      if (!fits) Fail(at, "must be [shortest, longest] in characters");
      description.text = {range[0].get<int>(), range[1].get<int>()};
    }
    if (way == "foreign_key") {
      const Json& how = json[way];
      if (!how.is_string() || (how != "uniform" && how != "zipf" && how != "each")) {
        Fail(at, "must be one of uniform, zipf, each");
      }
      const bool is_one = std::any_of(
          table.foreign_keys.begin(), table.foreign_keys.end(), [&](const SchemaForeignKey& key) {
            return std::find(key.columns.begin(), key.columns.end(), column.name) !=
                   key.columns.end();
          });
      if (!is_one) Fail(at, "no foreign key stands on this column");
      description.foreign_key = how.get<std::string>();
    }
    if (way == "sequence") {
      const Json& sequence = json[way];
      if (sequence.is_number_integer()) {
        description.sequence = {sequence.get<std::int64_t>(), 1};
      } else {
        NeedObject(sequence, at, {"start", "step"});
        description.sequence = {sequence.value("start", std::int64_t{1}),
                                sequence.value("step", std::int64_t{1})};
      }
    }
    if (way == "default") {
      if (json[way] != true) Fail(at, "must be true");
      description.use_default = true;
    }
    if (json.contains("unique")) {
      if (!json["unique"].is_boolean()) Fail(pointer + "/unique", "must be true or false");
      description.unique = json["unique"].get<bool>();
    }
    if (json.contains("null_share")) {
      const Json& share = json["null_share"];
      if (!share.is_number() || share.get<double>() < 0 || share.get<double>() > 1) {
        Fail(pointer + "/null_share", "must be a number from 0 to 1");
      }
      description.null_share = share.get<double>();
      if (!column.nullable && *description.null_share > 0) {
        Fail(pointer + "/null_share", "the column is NOT NULL");
      }
    }
    return description;
  }

  void ReadValues(const Json& json, const std::string& pointer,
                  ColumnDescription& description) const {
    if (json.is_array()) {
      for (std::size_t i = 0; i < json.size(); ++i) {
        description.values.emplace_back(TextOf(json[i], pointer + "/" + std::to_string(i)), 1.0);
      }
    } else if (json.is_object()) {
      for (const auto& [label, weight] : json.items()) {
        if (!weight.is_number() || weight.get<double>() < 0) {
          Fail(pointer + "/" + Escaped(label), "must be a weight, 0 or more");
        }
        description.values.emplace_back(label, weight.get<double>());
      }
    } else {
      Fail(pointer, "must be {value: weight} or [value, …]");
    }
    double sum = 0;
    for (const auto& [label, weight] : description.values) sum += weight;
    if (sum <= 0) Fail(pointer, "must have a value whose weight is more than 0");
  }

  std::string where_;
  const Schema& schema_;
  double scale_;
};

}  // namespace

RowsDescription ReadDescription(const Json& json, std::string_view where, const Schema& schema,
                                double scale) {
  return Reader(where, schema, scale).Read(json);
}

}  // namespace understudy::harness::internal
