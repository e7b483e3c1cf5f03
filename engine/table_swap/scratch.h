#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/core/context.h"
#include "engine/db/endpoint.h"
#include "engine/db/local_server.h"
#include "engine/db/session.h"
#include "engine/table_swap/access.h"
#include "engine/table_swap/shadow.h"
#include "engine/table_swap/shared_types.h"

namespace understudy::table_swap {

// Where the scratch of a migration is made: beside the target where its role may make databases,
// else on a throwaway server of this machine, of the target's major: another one would word
// definitions otherwise.
struct ScratchPlace {
  bool on_target = true;
  std::string text;     // "a database … on the target's server"
  std::string refused;  // why it can be made nowhere, with the grant that settles it; "" = it can
};
// Reads only. `origin`: where the schema is read from.
ScratchPlace FindScratchPlace(db::Session& target, db::Session& origin,
                              const std::string& migration_id);

// The scratch database of a migration: `understudy_scratch_<digest of the id>`. It holds the new
// schema without rows. On the target's server it stays until Drop(): prepare needs it to its end.
// On a server of this machine it goes with this value, or with the next Make() or Drop() when our
// process was killed.
class Scratch {
 public:
  // Both outlive it. Nothing is done yet.
  Scratch(const core::Context& context, const ShadowRequest& request);
  ~Scratch();

  static std::string NameFor(const std::string& migration_id);
  // Of the one on the target until Make() has made another.
  const db::Endpoint& endpoint() const { return endpoint_; }

  // Whether there is one that can be used.
  bool Exists() const;
  // What Drop() would remove, for people; also what killed processes left on this machine.
  std::vector<std::string> Leftovers() const;
  // Makes it afresh and fills it: the schema of the source, or the target's own with the user's
  // files applied. Error(kEnvironment) without client tools of the target's major;
  // Error(kConstraint) names the object that could not be made and why.
  void Make();
  // Adds what the user's files change of things that are not exchanged. REQUIRES: Make() was
  // called.
  void RefuseAccess(SetDecision& decision) const;
  // Owners and grants of the shadow's objects that are not production's. REQUIRES: Make() and
  // MoveSet() were called.
  std::vector<std::string> AccessStatements() const;
  // Moves `decision.moved` into the shadow schemas. After a failure the scratch is made afresh.
  void MoveSet(const SetDecision& decision);
  // Nothing when it is absent. Ends sessions in it.
  void Drop();

 private:
  void MakeOnTarget(db::Session& target);
  void MakeLocally(db::Session& target);
  void Fill(const db::Endpoint& from);
  void RunFiles();

  const core::Context& context_;
  const ShadowRequest& request_;
  db::Endpoint endpoint_;
  std::unique_ptr<db::LocalServer> local_;
  AccessHistory access_;
};

// The statements of pg_dump or pg_restore for one section of the shadow schemas in the scratch, as
// one text for Session::Execute, in a transaction of a session that is given up afterwards (the
// dump sets its settings): the schemas are there whole or not at all. `without`: kinds of entries
// to leave out, as pg_restore --list names them ("INDEX", "FK CONSTRAINT").
std::string DumpShadowSchemas(const core::Context& context, const Scratch& scratch,
                              const ShadowRequest& request, const std::string& section,
                              const std::vector<std::string>& without);

}  // namespace understudy::table_swap
