#pragma once

#include <string>

#include "engine/core/context.h"
#include "engine/db/endpoint.h"
#include "engine/table_swap/shadow.h"

namespace understudy::table_swap {

// The scratch database of a migration, on the target's server: `understudy_scratch_<digest of the
// id>`. It holds the new schema without rows. It stays until Drop(): prepare needs it to its end.
class Scratch {
 public:
  Scratch(const core::Context& context, const ShadowRequest& request);

  static std::string NameFor(const std::string& migration_id);
  const db::Endpoint& endpoint() const { return endpoint_; }

  bool Exists() const;
  // Makes it afresh and fills it: the schema of the source, or the target's own with the user's
  // files applied. Error(kEnvironment) without client tools of the target's major;
  // Error(kConstraint) names the object that could not be made and why.
  void Make();
  // Nothing when it is absent. Ends sessions in it.
  void Drop();

 private:
  const core::Context& context_;
  const ShadowRequest& request_;
  db::Endpoint endpoint_;
};

}  // namespace understudy::table_swap
