#include "engine/table_swap/manifest.h"

#include <algorithm>

#include "engine/base/digest.h"
#include "engine/base/error.h"

namespace understudy::table_swap {
namespace {

constexpr std::size_t kLongestName = 63;  // bytes of a PostgreSQL identifier (NAMEDATALEN - 1)
constexpr const char* kEntry = "manifest";

std::string Cut(const std::string& name) {
  if (name.size() <= kLongestName) return name;
  std::size_t end = kLongestName - 9;
  while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0U) == 0x80U) --end;
  return name.substr(0, end) + "_" + Sha256Hex(name).substr(0, 8);
}

Json NameJson(const db::TableName& name) { return Json::array({name.schema, name.name}); }

db::TableName NameFrom(const Json& json) {
  return {json.at(0).get<std::string>(), json.at(1).get<std::string>()};
}

}  // namespace

SchemaNames NamesBeside(const std::string& user_schema) {
  return {user_schema, Cut("understudy_shadow_" + user_schema),
          Cut("understudy_backup_" + user_schema)};
}

const SchemaNames& Manifest::Names(const std::string& user_schema) const {
  for (const SchemaNames& names : schemas) {
    if (names.user == user_schema) return names;
  }
  throw Error(ErrorKind::kInternal, "the manifest has no schema '" + user_schema + "'");
}

const SetTable* Manifest::Find(const db::TableName& name) const {
  const auto it = std::ranges::find(tables, name, &SetTable::name);
  return it == tables.end() ? nullptr : &*it;
}

db::TableName Manifest::Shadow(const db::TableName& name) const {
  return {Names(name.schema).shadow, name.name};
}

db::TableName Manifest::Backup(const db::TableName& name) const {
  return {Names(name.schema).backup, name.name};
}

void Manifest::Save(core::Journal& journal) const {
  Json json = {{"scratch_database", scratch_database},
               {"built", built},
               {"copied", copied},
               {"complete", complete}};
  Json& schema_list = json["schemas"] = Json::array();
  for (const SchemaNames& names : schemas) {
    schema_list.push_back({names.user, names.shadow, names.backup});
  }
  Json& table_list = json["tables"] = Json::array();
  for (const SetTable& table : tables) {
    table_list.push_back({{"name", NameJson(table.name)},
                          {"preserved", table.preserved},
                          {"partitioned", table.partitioned},
                          {"old", table.old_oid},
                          {"new", table.new_oid}});
  }
  Json& old_list = json["old_objects"] = Json::array();
  for (const Movable& object : old_objects) old_list.push_back(object.ToJson());
  Json& new_list = json["new_objects"] = Json::array();
  for (const Movable& object : new_objects) new_list.push_back(object.ToJson());
  Json& key_list = json["foreign_keys"] = Json::array();
  for (const DeferredForeignKey& key : foreign_keys) {
    key_list.push_back({{"table", NameJson(key.table)},
                        {"name", key.name},
                        {"columns", key.columns},
                        {"references", NameJson(key.references)},
                        {"referenced_columns", key.referenced_columns},
                        {"references_set", key.references_set},
                        {"validated", key.validated},
                        {"partitioned", key.partitioned},
                        {"definition", key.definition},
                        {"comment", key.comment},
                        {"parts", KeyPartsJson(key.parts)}});
  }
  json["triggers"] = TriggersJson(triggers);
  json["access"] = access;
  journal.Put(kEntry, json);
}

Json TriggersJson(const std::vector<TriggerState>& triggers) {
  Json json = Json::array();
  for (const TriggerState& trigger : triggers) {
    json.push_back({{"table", NameJson(trigger.table)},
                    {"name", trigger.name},
                    {"rule", trigger.rule},
                    {"enabled", std::string(1, trigger.enabled)}});
  }
  return json;
}

std::vector<TriggerState> TriggersFrom(const Json& json) {
  std::vector<TriggerState> triggers;
  for (const Json& item : json) {
    triggers.push_back({NameFrom(item.at("table")), item.at("name").get<std::string>(),
                        item.at("rule").get<bool>(), item.at("enabled").get<std::string>().at(0)});
  }
  return triggers;
}

void RememberWrite(db::Session& session, core::Journal& journal) {
  std::int64_t xid = session.Scalar("SELECT txid_current()").AsInteger();
  // The one that commits last need not have the highest number.
  if (const auto before = journal.Find(kLastWriteEntry)) {
    xid = std::max(xid, before->detail.value("xid", std::int64_t{0}));
  }
  journal.Put(kLastWriteEntry, {{"xid", xid}});
}

std::optional<Manifest> Manifest::Load(core::Journal& journal) {
  const auto entry = journal.Find(kEntry);
  if (!entry) return std::nullopt;
  const Json& json = entry->detail;
  Manifest manifest;
  manifest.scratch_database = json.value("scratch_database", "");
  manifest.built = json.value("built", false);
  manifest.copied = json.value("copied", false);
  manifest.complete = json.value("complete", false);
  for (const Json& item : json.at("schemas")) {
    manifest.schemas.push_back({item.at(0).get<std::string>(), item.at(1).get<std::string>(),
                                item.at(2).get<std::string>()});
  }
  for (const Json& item : json.at("tables")) {
    manifest.tables.push_back({NameFrom(item.at("name")), item.at("preserved").get<bool>(),
                               item.at("partitioned").get<bool>(),
                               item.at("old").get<std::uint32_t>(),
                               item.at("new").get<std::uint32_t>()});
  }
  for (const Json& item : json.at("old_objects")) {
    manifest.old_objects.push_back(Movable::FromJson(item));
  }
  for (const Json& item : json.at("new_objects")) {
    manifest.new_objects.push_back(Movable::FromJson(item));
  }
  for (const Json& item : json.at("foreign_keys")) {
    DeferredForeignKey& key = manifest.foreign_keys.emplace_back();
    key.table = NameFrom(item.at("table"));
    key.name = item.at("name").get<std::string>();
    key.columns = item.at("columns").get<std::vector<std::string>>();
    key.references = NameFrom(item.at("references"));
    key.referenced_columns = item.at("referenced_columns").get<std::vector<std::string>>();
    key.references_set = item.at("references_set").get<bool>();
    key.validated = item.at("validated").get<bool>();
    key.partitioned = item.at("partitioned").get<bool>();
    key.definition = item.at("definition").get<std::string>();
    key.comment = item.value("comment", "");
    key.parts = KeyPartsFrom(item.value("parts", Json::array()));
  }
  manifest.access = json.value("access", std::vector<std::string>{});
  manifest.triggers = TriggersFrom(json.at("triggers"));
  return manifest;
}

}  // namespace understudy::table_swap
