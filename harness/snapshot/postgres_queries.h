#pragma once

#include <string_view>

namespace understudy::harness {

// The text of postgres/NAME.sql; empty when there is no such file.
std::string_view PostgresQuery(std::string_view name);

}  // namespace understudy::harness
