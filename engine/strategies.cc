// The one file that names every strategy.
#include "engine/command/command.h"
#include "engine/core/registry.h"
#include "engine/sql_files/sql_files.h"

namespace understudy {

core::Registry AllStrategies() {
  core::Registry registry;
  registry.Add(sql_files::Strategy());
  registry.Add(command::Strategy());
  return registry;
}

}  // namespace understudy
