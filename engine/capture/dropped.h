#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/capture/compare.h"

namespace understudy::capture {

// Rows that the mirrors are not to have because what they refer to is not there: those that a
// mapping's `only` leaves out, and those that refer to such rows, directly or through others, in a
// circle too. The former never reach a mirror. The latter hang on other rows, which no dirty key
// tells of: they are taken out in the transaction that puts the mirrors in service, and until then
// are compared and replayed like all others.
//
// Everything in one transaction of the caller's, while nobody else writes to the mirrors:
//   DroppedRows dropped(session, tables, references);
//   dropped.TakeOut();                  // reads whole tables
//   lock the watched tables; Replay()
//   dropped.TakeOutDrained(…);          // what has come meanwhile
class DroppedRows {
 public:
  // `references`: between mirrors of `tables`, those that Reaches() tells.
  DroppedRows(db::Session& session, std::vector<CapturedTable> tables,
              const std::vector<Reference>& references);
  ~DroppedRows();
  DroppedRows(const DroppedRows&) = delete;
  DroppedRows& operator=(const DroppedRows&) = delete;

  // Of `references`, by place: those from rows that may be left out, or that may refer to such.
  // `enforced`: production holds to it, so that only what is left out can be missing.
  static std::vector<bool> Reaches(const std::vector<CapturedTable>& tables,
                                   const std::vector<Reference>& references,
                                   const std::vector<bool>& enforced);

  void TakeOut();
  // After Replay() of `drained` (watched OIDs) in the same transaction. `hits`: references, by
  // place, and the drained table at one end of each, where MayOrphanSql() is true.
  // Error(kConflict, "changed") when rows that were taken out find their parents again: the whole
  // is to be tried anew.
  struct Hit {
    std::size_t reference = 0;
    Oid watched = 0;
  };
  void TakeOutDrained(const std::set<Oid>& drained, const std::vector<Hit>& hits);

  // How many rows were taken out of each mirror.
  const std::map<Oid, std::int64_t>& taken() const { return taken_; }
  // {"public.note": {"rows": 2, "keys": [{"id": "17"}, …]}}: what production has and the mirrors
  // have not, at most so many keys of each table.
  Json List(std::int64_t keys_at_most) const;

 private:
  struct Link;
  struct Side;
  Side* WithMirror(Oid mirror);
  std::int64_t Delete(std::size_t at, const std::string& also);
  void Follow();

  db::Session& session_;
  std::vector<CapturedTable> tables_;
  std::vector<Link> links_;
  std::vector<Side> sides_;
  std::map<Oid, std::int64_t> taken_;
};

}  // namespace understudy::capture
