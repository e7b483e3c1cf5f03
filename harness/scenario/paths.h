#pragma once

#include <filesystem>
#include <string>

#include "engine/base/json.h"

namespace understudy::harness {

// Makes every path of the document absolute, relative ones to `folder`; with `must_exist` a file
// that is not there is Error(kInvalidSpec) at its pointer.
void MakePathsAbsolute(Json& document, const std::filesystem::path& folder,
                       const std::string& where, bool must_exist);

// Takes the passwords of endpoints, and environment values that look like secrets, out of it.
void TakeSecretsOut(Json& document);

}  // namespace understudy::harness
