#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/db/session.h"

// The catalog and the row digests of a database at one moment, and what differs between two.
namespace understudy::harness {

// One catalog object and what can be said of it, property by property: "table:public.orders" with
// {"persistence": "permanent", …}. PATH is kind:schema.object[.part], names as
// db::DisplayIdentifier writes them. A column, constraint, index or trigger is an object itself.
struct CatalogObject {
  std::string path;
  std::string kind;  // table column constraint index sequence trigger …
  std::map<std::string, std::string> properties;  // normal forms; see normal_forms.h
};

struct TableDigest {
  std::string table;  // TableName::Display()
  std::int64_t rows = 0;
  std::string digest;  // 32 hex digits over all columns, order-free, additive
  std::map<std::string, std::string> columns;  // per column: the digest of (row key, column)
};

struct NotChecked {
  std::string what;
  std::string why;
};

struct Snapshot {
  std::string endpoint;  // redacted
  std::string engine;    // "postgres" | "sqlite"
  std::string version;
  std::string taken_at;                // UTC
  std::vector<CatalogObject> objects;  // sorted by path
  std::vector<TableDigest> tables;     // sorted by name; empty when only the catalog was asked for
  std::vector<NotChecked> not_checked;

  Json ToJson() const;
  static Snapshot FromJson(const Json& json);
};

// The content of a *.snapshot file. Reading anything else is Error(kInvalidSpec).
void WriteSnapshotFile(const std::filesystem::path& file, const Snapshot& snapshot);
Snapshot ReadSnapshotFile(const std::filesystem::path& file);

// One line for people: what the object is, without what goes without saying.
std::string Describe(const CatalogObject& object);
// What `understudy snapshot --json` prints: "understudy-snapshot/1".
Json SnapshotJson(const Snapshot& snapshot);

// The catalog alone, in one read-only transaction. Leaves out the server's own schemas and
// extension members; objects of the engine's own (`understudy*`) are in.
// `session`: Settings::kOurs, no transaction open. `endpoint` is left to the caller.
Snapshot TakeCatalog(db::Session& session);

enum class Severity { kInfo, kWorse };  // kWorse: removed, disabled, invalid, weakened, unvalidated

struct CatalogChange {
  std::string path;      // with "#property" when one property changed
  std::string kind;      // of the object
  std::string change;    // added | removed | changed
  std::string property;  // of a change
  std::string left;
  std::string right;
  Severity severity = Severity::kInfo;
};

// What must be done to `left` to get `right`. Pure. A change of a sequence's last_value or
// is_called is reported as a change of sequence:…#last_value.
std::vector<CatalogChange> DiffCatalogs(const Snapshot& left, const Snapshot& right);
Json ToJson(const CatalogChange& change);

// Whether `path` (with or without #property) matches the PATH pattern of a scenario.
bool MatchesPath(std::string_view path, std::string_view pattern);

// Whether the object is the engine's own: left to the check `leftovers`.
bool IsOurs(std::string_view path);

}  // namespace understudy::harness
