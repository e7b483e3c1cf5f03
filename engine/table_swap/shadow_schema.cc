#include "engine/table_swap/shadow_schema.h"

namespace understudy::table_swap {

void BuildShadowSchema(const core::Context& context, const Scratch& scratch, db::Session& target,
                       const ShadowRequest& request) {
  target.Execute(DumpShadowSchemas(context, scratch, request, "pre-data", {}));
}

}  // namespace understudy::table_swap
