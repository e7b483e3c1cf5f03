#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/core/context.h"
#include "engine/db/endpoint.h"
#include "engine/db/identifier.h"
#include "engine/table_swap/settings.h"

// The shadow: the new tables, built beside production's in the target. In the order in which
// prepare goes through it:
//
//   Scratch           a database of ours that holds the new schema            scratch.h
//   DecideSet         what of it becomes new, what is production's already    shared_types.h
//   AppendLabels      enum labels that production lacks, committed            shared_types.h
//   MoveSql           the set goes to understudy_shadow_… inside the scratch  mover.h
//   DumpShadowSchemas tables, types, functions, views in the target: pre-data scratch.h
//   CopyRows          rows of the replaced tables, from the source            row_copy.h
//   BuildPostData     indexes, constraints, foreign keys                      post_data.h
//   FinishShadow      materialised views, triggers (off), statistics          post_data.h
//
// Every step may be called again after a crash and goes on where the catalog of the target and
// the journal say.
namespace understudy::table_swap {

// What all these steps need to know of one migration. Schemas of the shadow: NamesBeside().
struct ShadowRequest {
  std::string migration_id;
  std::int64_t epoch = 0;  // of the journal: checked in every writing transaction
  // How all sessions of this migration name themselves: whoever takes it over ends those of before.
  std::string session_name = "understudy-engine table-swap";
  db::Endpoint target;
  std::optional<db::Endpoint> source;  // nullopt: every table is preserved
  Settings settings;
  // Tables of more than twice this are copied in ranges of about this size.
  std::int64_t range_bytes = std::int64_t{128} << 20U;
};

}  // namespace understudy::table_swap
