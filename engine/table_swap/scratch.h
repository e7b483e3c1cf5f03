#pragma once

#include <string>
#include <vector>

#include "engine/core/context.h"
#include "engine/db/endpoint.h"
#include "engine/table_swap/shadow.h"
#include "engine/table_swap/shared_types.h"

namespace understudy::table_swap {

// The scratch database of a migration, on the target's server: `understudy_scratch_<digest of the
// id>`. It holds the new schema without rows. It stays until Drop(): prepare needs it to its end.
class Scratch {
 public:
  // Both outlive it. Nothing is done yet.
  Scratch(const core::Context& context, const ShadowRequest& request);

  static std::string NameFor(const std::string& migration_id);
  const db::Endpoint& endpoint() const { return endpoint_; }

  bool Exists() const;
  // Makes it afresh and fills it: the schema of the source, or the target's own with the user's
  // files applied. Error(kEnvironment) without client tools of the target's major;
  // Error(kConstraint) names the object that could not be made and why.
  void Make();
  // Moves `decision.moved` into the shadow schemas. After a failure the scratch is made afresh.
  void MoveSet(const SetDecision& decision);
  // Nothing when it is absent. Ends sessions in it.
  void Drop();

 private:
  void Fill(const db::Endpoint& from);
  void RunFiles();

  const core::Context& context_;
  const ShadowRequest& request_;
  db::Endpoint endpoint_;
};

// The statements of pg_dump or pg_restore for one section of the shadow schemas in the scratch, as
// one text for Session::Execute, in a transaction of a session that is given up afterwards (the
// dump sets its settings): the schemas are there whole or not at all. `without`: kinds of entries
// to leave out, as pg_restore --list names them ("INDEX", "FK CONSTRAINT").
std::string DumpShadowSchemas(const core::Context& context, const Scratch& scratch,
                              const ShadowRequest& request, const std::string& section,
                              const std::vector<std::string>& without);

}  // namespace understudy::table_swap
