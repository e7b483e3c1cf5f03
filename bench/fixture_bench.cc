// Rows that are made by description, against COPY of the very same rows out of memory.
#include <filesystem>
#include <iostream>

#include "bench/result.h"
#include "engine/base/error.h"
#include "engine/db/copy.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "harness/world/generate.h"
#include "harness/world/world.h"

namespace understudy::bench {
namespace {

namespace fs = std::filesystem;

struct Rows {
  std::string target;  // TABLE (COLUMNS)
  std::string text;
};

// What COPY takes again: every column but the generated ones.
Rows Read(const db::Endpoint& from, const db::TableName& table) {
  std::string columns;
  for (const db::Row& row :
       db::Connect(from)
           ->Query("SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON "
                   "c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
                   "WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT "
                   "a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum",
                   {db::Value::Text(table.schema), db::Value::Text(table.name)})
           .rows) {
    columns += (columns.empty() ? "" : ", ") + db::QuoteIdentifier(row[0].text);
  }
  Rows rows;
  rows.target = table.Quoted() + " (" + columns + ")";
  db::CopySession session(from);
  db::CopyOut out(session, "COPY (SELECT " + columns + " FROM " + table.Quoted() + ") TO STDOUT");
  std::string piece;
  while (out.Read(piece)) rows.text += piece;
  return rows;
}

}  // namespace

void Fixture(int pairs, double scale) {
  const fs::path shop = fs::path(UNDERSTUDY_SOURCE_DIR) / "fixtures/shop";
  harness::DatabaseSpec spec;
  spec.name = "main";
  spec.engine = "postgres";
  spec.provision = "local";
  spec.fixture = Json::array({(shop / "schema.sql").string()});
  harness::ProvisionOptions options;
  options.run_id = options.scenario = "bench";
  options.stop = Stopped;
  const auto empty = harness::Provision(spec, options);

  const fs::path file = shop / "rows.json";
  const Json description = ParseJsonFile(file);
  harness::GenerateOptions generate;
  generate.scale = scale;
  generate.stop = Stopped;
  std::vector<Rows> all;
  std::int64_t count = 0;
  std::size_t bytes = 0;
  const auto make = [&](const db::Endpoint& endpoint) {
    return harness::GenerateRows(endpoint, description, file.string(), generate);
  };
  {
    const auto first = empty->Clone("first");
    for (const harness::GeneratedTable& table : make(first->endpoint())) {
      count += table.rows;
      all.push_back(Read(first->endpoint(), table.table));
      bytes += all.back().text.size();
    }
  }
  const auto copy = [&](const db::Endpoint& endpoint) {
    db::SessionOptions user;
    user.settings = db::Settings::kUsers;
    db::CopySession session(endpoint, user);
    for (const Rows& rows : all) {
      StopIfAsked();
      db::CopyIn in(session, "COPY " + rows.target + " FROM STDIN");
      in.Write(rows.text);
      in.Finish();
    }
    session.Execute("ANALYZE");  // as ours does
  };
  Measurement fixture;
  fixture.name = "fixture";
  fixture.what = "rows of the fixture shop, made and loaded";
  fixture.peer = "COPY of the same rows from memory, then ANALYZE";
  for (int i = 0; i < pairs; ++i) {
    {
      const auto theirs = empty->Clone("copy");
      fixture.peers.push_back(Seconds([&] { copy(theirs->endpoint()); }));
    }
    const auto ours = empty->Clone("made");
    fixture.ours.push_back(Seconds([&] { make(ours->endpoint()); }));
  }
  const auto per_second = [&](const std::vector<double>& seconds) {
    return static_cast<std::int64_t>(static_cast<double>(count) /
                                     Spread(seconds).at("median").get<double>());
  };
  fixture.more = {{"rows", count},
                  {"bytes", bytes},
                  {"ours_rows_per_s", per_second(fixture.ours)},
                  {"peer_rows_per_s", per_second(fixture.peers)}};
  std::cout << ToLine(fixture.ToJson()) << "\n";
}

}  // namespace understudy::bench
