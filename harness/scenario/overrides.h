#pragma once

#include "harness/scenario/scenario.h"

namespace understudy::harness {

// Changes the file's document as the command line says (formats: --set, --provision, --pg, …).
// Error(kInvalidSpec, code "usage") when a KEY leads nowhere.
void ApplyOverrides(Json& document, const Overrides& overrides);

bool ChangesAnything(const Overrides& overrides);

}  // namespace understudy::harness
