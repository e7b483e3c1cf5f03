// The one file that names every strategy.
#include "engine/command/command.h"
#include "engine/core/registry.h"
#include "engine/hot_copy/hot_copy.h"
#include "engine/sql_files/sql_files.h"
#include "engine/table_swap/table_swap.h"

namespace understudy {

core::Registry AllStrategies() {
  core::Registry registry;
  registry.Add(sql_files::Strategy());
  registry.Add(command::Strategy());
  registry.Add(hot_copy::Strategy());
  registry.Add(table_swap::Strategy());
  return registry;
}

}  // namespace understudy
