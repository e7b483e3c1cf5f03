#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/db/identifier.h"
#include "harness/snapshot/normal_forms.h"
#include "harness/snapshot/snapshot.h"

namespace understudy::harness {

// Collects objects by path while a catalog is read. A value goes through its normal form once,
// here.
class CatalogBuilder {
 public:
  // kind:schema.object[.part][(signature)]; empty names are left out.
  static std::string Path(std::string_view kind, std::string_view schema, std::string_view object,
                          std::string_view part = {}) {
    std::string path(kind);
    char separator = ':';
    for (const std::string_view name : {schema, object, part}) {
      if (name.empty()) continue;
      path += separator;
      path += db::DisplayIdentifier(name);
      separator = '.';
    }
    if (separator == ':') path += ':';
    return path;
  }

  CatalogObject& Object(std::string_view kind, const std::string& path) {
    CatalogObject& object = objects_[path];
    object.path = path;
    object.kind = kind;
    return object;
  }

  // An empty value is an absent property.
  static void Set(CatalogObject& object, std::string_view property, std::string_view raw) {
    std::string value = NormalForm(object.kind, property, raw);
    if (!value.empty()) object.properties[std::string(property)] = std::move(value);
  }

  std::vector<CatalogObject> Take() {
    std::vector<CatalogObject> all;
    all.reserve(objects_.size());
    for (auto& [path, object] : objects_) all.push_back(std::move(object));
    return all;
  }

 private:
  std::map<std::string, CatalogObject> objects_;
};

// Each adds its engine's objects and what is not checked. REQUIRES: a read-only transaction.
void ReadPostgresCatalog(db::Session& session, CatalogBuilder& builder, Snapshot& snapshot);
void ReadSqliteCatalog(db::Session& session, CatalogBuilder& builder, Snapshot& snapshot);

}  // namespace understudy::harness
