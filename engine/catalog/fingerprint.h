#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/base/json.h"
#include "engine/catalog/postgres.h"

namespace understudy::catalog {

// What of a table must not change while its rows are being captured, because no row trigger would
// see it: ALTER TYPE … USING, ATTACH and DETACH PARTITION, a trigger dropped or disabled
// (hard-case 136). VACUUM FULL and TRUNCATE change `files` too.
struct TableFingerprint {
  std::string table;        // as people know it: public.orders
  std::string columns;      // number, name, type, not null, generated, identity of each
  std::string files;        // relfilenode, of partitions too
  std::string inheritance;  // parents and children with their bounds
  // Name, function, enabled state, and who wrote them; of partitions too. One that was disabled and
  // enabled again is another.
  std::string triggers;
  bool operator==(const TableFingerprint&) const = default;
};

using Fingerprint = std::map<Oid, TableFingerprint>;  // a table that is gone is not in it

// As the session's snapshot sees it; partitions belong to their root.
Fingerprint ReadFingerprint(db::Session& session, const std::vector<Oid>& tables);

struct FingerprintChange {
  Oid table = 0;
  std::string name;
  bool gone = false;
  bool renamed = false;  // or moved to another schema: another table may have its name
  bool columns = false;
  bool files = false;
  bool inheritance = false;
  bool triggers = false;
  bool keys = false;  // never found here: of whoever logs keys, some of which are missing
  // Whether rows may have changed unseen: the table is to be copied again. Only triggers: too,
  // because writes were missed while ours was not there or not enabled.
  std::string Text()
      const;  // "public.orders: its columns, its storage (rewritten or truncated) changed"
};

// What differs, by table; a table of `before` that is not in `now` is gone.
std::vector<FingerprintChange> CompareFingerprints(const Fingerprint& before,
                                                   const Fingerprint& now);

Json ToJson(const Fingerprint& fingerprint);
Fingerprint FingerprintFromJson(const Json& json);

}  // namespace understudy::catalog
