#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {
namespace {

constexpr std::string_view kFormat = "understudy-snapshot-file/1";

Json NotCheckedJson(const std::vector<NotChecked>& all) {
  Json list = Json::array();
  for (const NotChecked& one : all) list.push_back({{"what", one.what}, {"why", one.why}});
  return list;
}

std::string OneLine(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (blank && (out.empty() || out.back() == ' ')) continue;
    out += blank ? ' ' : c;
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// What goes without saying in a line for people.
bool GoesWithoutSaying(const std::string& property, const std::string& value) {
  return value == "no" || property == "grants" || property == "owner" || property == "is_called" ||
         property == "storage" || (property == "tablespace" && value == "default") ||
         (property == "persistence" && value == "permanent") ||
         (property == "replica_identity" && value == "default") ||
         (property == "enabled" && value == "enabled") || property == "access_method" ||
         (value == "yes" && (property == "valid" || property == "ready" ||
                             property == "validated" || property == "populated")) ||
         (property == "nullability" && value == "null");
}

}  // namespace

std::string Describe(const CatalogObject& object) {
  std::string line;
  const auto add = [&](std::string_view text) {
    if (!line.empty()) line += "; ";
    line += OneLine(text);
  };
  const auto property = [&](const char* name) {
    const auto it = object.properties.find(name);
    return it == object.properties.end() ? std::string() : it->second;
  };
  if (const std::string definition = property("definition"); !definition.empty()) add(definition);
  if (object.kind == "column") add(property("type"));
  for (const auto& [name, value] : object.properties) {
    if (name == "definition" || (object.kind == "column" && name == "type")) continue;
    if (name == "type" && object.kind == "constraint") continue;
    if (value == "no" &&
        (name == "valid" || name == "ready" || name == "validated" || name == "populated")) {
      add("not " + name);
    } else if (GoesWithoutSaying(name, value)) {
      continue;
    } else if (value == "yes" || name == "nullability" || name == "enabled") {
      add(value == "yes" ? name : value);
    } else {
      add(name + " " + value);
    }
  }
  return line.empty() ? object.kind : line;
}

Json Snapshot::ToJson() const {
  Json json;
  json["format"] = kFormat;
  json["endpoint"] = endpoint;
  json["engine"] = engine;
  json["version"] = version;
  json["taken_at"] = taken_at;
  Json& list = json["objects"] = Json::array();
  for (const CatalogObject& object : objects) {
    list.push_back(
        {{"path", object.path}, {"kind", object.kind}, {"properties", object.properties}});
  }
  Json& digests = json["tables"] = Json::array();
  for (const TableDigest& table : tables) {
    digests.push_back({{"table", table.table},
                       {"rows", table.rows},
                       {"digest", table.digest},
                       {"columns", table.columns}});
  }
  json["not_checked"] = NotCheckedJson(not_checked);
  return json;
}

Snapshot Snapshot::FromJson(const Json& json) {
  try {
    if (json.at("format").get<std::string>() != kFormat) {
      throw Error(ErrorKind::kInvalidSpec, "this is " + json.at("format").get<std::string>() +
                                               ", not " + std::string(kFormat) +
                                               ": take the snapshot again with this program");
    }
    Snapshot snapshot;
    snapshot.endpoint = json.at("endpoint").get<std::string>();
    snapshot.engine = json.at("engine").get<std::string>();
    snapshot.version = json.at("version").get<std::string>();
    snapshot.taken_at = json.at("taken_at").get<std::string>();
    for (const Json& object : json.at("objects")) {
      snapshot.objects.push_back(
          {object.at("path").get<std::string>(), object.at("kind").get<std::string>(),
           object.at("properties").get<std::map<std::string, std::string>>()});
    }
    for (const Json& table : json.at("tables")) {
      snapshot.tables.push_back({table.at("table").get<std::string>(),
                                 table.at("rows").get<std::int64_t>(),
                                 table.at("digest").get<std::string>(),
                                 table.at("columns").get<std::map<std::string, std::string>>()});
    }
    for (const Json& one : json.at("not_checked")) {
      snapshot.not_checked.push_back(
          {one.at("what").get<std::string>(), one.at("why").get<std::string>()});
    }
    return snapshot;
  } catch (const Json::exception& error) {
    throw Error(ErrorKind::kInvalidSpec,
                std::string("this is no snapshot of ours: ") + error.what() +
                    "; take one with `understudy snapshot ENDPOINT -o FILE.snapshot`");
  }
}

Json SnapshotJson(const Snapshot& snapshot) {
  Json json;
  json["format"] = "understudy-snapshot/1";
  json["endpoint"] = snapshot.endpoint;
  json["engine"] = snapshot.engine;
  json["version"] = snapshot.version;
  json["taken_at"] = snapshot.taken_at;
  Json& tables = json["tables"] = Json::array();
  for (const TableDigest& table : snapshot.tables) {
    tables.push_back({{"table", table.table}, {"rows", table.rows}, {"digest", table.digest}});
  }
  Json& objects = json["objects"] = Json::array();
  for (const CatalogObject& object : snapshot.objects) {
    objects.push_back({{"path", object.path}, {"definition", Describe(object)}});
  }
  json["not_checked"] = NotCheckedJson(snapshot.not_checked);
  return json;
}

void WriteSnapshotFile(const std::filesystem::path& file, const Snapshot& snapshot) {
  WriteFileWhole(file, ToText(snapshot.ToJson()));
}

Snapshot ReadSnapshotFile(const std::filesystem::path& file) {
  return During("snapshot " + file.string(),
                [&] { return Snapshot::FromJson(ParseJsonFile(file)); });
}

Json ToJson(const CatalogChange& change) {
  return {{"path", change.path},
          {"change", change.change},
          {"property", change.property},
          {"left", change.left},
          {"right", change.right},
          {"severity", change.severity == Severity::kWorse ? "worse" : "info"},
          {"kind", change.kind}};
}

}  // namespace understudy::harness
