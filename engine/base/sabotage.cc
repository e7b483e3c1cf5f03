#include "engine/base/sabotage.h"

#ifdef UNDERSTUDY_SABOTAGE
#include <array>
#include <atomic>
#include <cstdlib>

#include "engine/base/error.h"

namespace understudy {

const SabotageInfo* ChosenSabotage() {
  static const SabotageInfo* const chosen = []() -> const SabotageInfo* {
    const char* const id = std::getenv("UNDERSTUDY_SABOTAGE_ID");
    if (id == nullptr || *id == '\0') return nullptr;
    std::string known;
    for (const SabotageInfo& sabotage : kSabotages) {
      if (sabotage.id == id) return &sabotage;
      known += (known.empty() ? "" : ", ") + std::string(sabotage.id);
    }
    throw Error(ErrorKind::kInvalidSpec,
                "UNDERSTUDY_SABOTAGE_ID: no such id: '" + std::string(id) + "'; known: " + known);
  }();
  return chosen;
}

bool Sabotaged(SabotageId id) { return ChosenSabotage() == &kSabotages[id.index()]; }

bool SabotagedOnce(SabotageId id, int nth) {
  static std::array<std::atomic<int>, std::size(kSabotages)> asked{};
  return Sabotaged(id) && ++asked[id.index()] == nth;
}

}  // namespace understudy
#endif
