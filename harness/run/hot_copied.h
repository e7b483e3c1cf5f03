#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>

#include "engine/base/file.h"
#include "harness/checks/hot_copies.h"
#include "harness/run/rehearsal.h"

// What hot copies add to the examination after the last step. The new schema is read by plain
// SQLite, what is renamed by the comments in it; nothing is shared with the strategy.
namespace understudy::harness {

class HotCopied {
 public:
  HotCopied(Rehearsal& rehearsal, const HotCopies& copies);
  ~HotCopied();

  // Where the ledger's rows are looked for: those that clients wrote to a source whose copy is in
  // service must be in the new file, so it is read back into the shape of the old one.
  ActorContext WhereToLook();

  // Each target in service against what its source holds in the end: rows, and as the snapshot
  // HotCopies::kExpected the catalog. Comparisons of use "rows", probes "rows".
  void CompareTargets(const std::string& last);

  // After a reset nothing of the new file is left. Probes "leftovers".
  void ProbeLeftovers(const Evidence& evidence);

  // Databases that nothing is promised of, so that no insert is tried in them: name → why.
  std::map<std::string, std::string> NotServed() const;

 private:
  struct Column;
  struct Table;
  struct Work;
  void Read(const HotCopy& copy, const db::Endpoint& old, Work& work);
  void ReadMapping(const HotCopy& copy, Work& work);
  void CheckMapping(const HotCopy& copy, Work& work);
  db::Endpoint Backwards(const HotCopy& copy);
  void CompareTarget(const HotCopy& copy, const std::string& last);
  std::filesystem::path Fresh(const std::string& name);

  Rehearsal& rehearsal_;
  const HotCopies& copies_;
  TemporaryFolder folder_;
};

}  // namespace understudy::harness
