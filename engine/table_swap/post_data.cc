#include "engine/table_swap/post_data.h"

#include "engine/base/error.h"

namespace understudy::table_swap {

void BuildPostData(const core::Context&, const Scratch&, const ShadowRequest&) {
  throw Error(ErrorKind::kInternal, "the indexes of a shadow cannot be built yet");
}
void FinishShadow(const core::Context&, const Scratch&, const ShadowRequest&) {
  throw Error(ErrorKind::kInternal, "a shadow cannot be finished yet");
}

}  // namespace understudy::table_swap
