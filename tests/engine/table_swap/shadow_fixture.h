#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/core/context.h"
#include "engine/core/journal.h"
#include "engine/db/client_tools.h"
#include "engine/db/session.h"
#include "engine/table_swap/post_data.h"
#include "engine/table_swap/row_copy.h"
#include "engine/table_swap/scratch.h"
#include "engine/table_swap/shared_types.h"
#include "tests/support/server.h"

namespace understudy::table_swap {

// One database of a test.
class Place {
 public:
  explicit Place(db::Endpoint endpoint) : endpoint_(std::move(endpoint)) {}
  const db::Endpoint& endpoint() const { return endpoint_; }
  std::unique_ptr<db::Session> Connect() const { return db::Connect(endpoint_); }
  void Run(std::string_view sql) const {
    db::SessionOptions options;
    options.settings = db::Settings::kUsers;
    db::Connect(endpoint_, options)->Execute(sql);
  }

 private:
  db::Endpoint endpoint_;
};

// What pg_dump says of public, sorted (it orders by OID where names tie), less what differs by
// nature.
inline std::string DumpOf(const db::Endpoint& endpoint, int major) {
  db::ClientTools::Job job;
  job.argv = {"pg_dump",   "--no-owner",           "--no-privileges",
              "--inserts", "--exclude-schema=aux", "--exclude-schema=understudy"};
  const Outcome outcome = db::ClientTools::Find(major, "").Run(job, endpoint, {});
  EXPECT_TRUE(outcome.ok()) << outcome.err;
  std::vector<std::string> lines;
  std::istringstream in(outcome.out);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.starts_with("--") || line.starts_with("\\") ||
        line.find("SCHEMA public") != std::string::npos) {
      continue;
    }
    lines.push_back(line);
  }
  std::ranges::sort(lines);
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

// A source and a target, and the steps of prepare that build the shadow, without a migration.
class ShadowTest : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_POSTGRES();
    for (auto& database : databases) {
      database = std::make_unique<understudy::testing::Database>();
    }
    Begin(databases[0]->endpoint(), databases[1]->endpoint());
  }
  void Begin(const db::Endpoint& from, const db::Endpoint& to) {
    source = std::make_unique<Place>(from);
    target = std::make_unique<Place>(to);
    spec.id = "shadow-test-" + target->endpoint().Setting("dbname");
    request.migration_id = spec.id;
    request.epoch = 1;
    request.target = target->endpoint();
    request.source = source->endpoint();
    request.settings.from_source = true;
    request.settings.schemas = {"public"};
  }
  void TearDown() override {
    if (target) Scratch(context, request).Drop();
    if (!file.empty()) std::filesystem::remove(file);
  }

  // A migration by SQL: no source, every table preserved.
  void FromSql(std::string_view sql) {
    file = std::filesystem::temp_directory_path() / (spec.id + ".sql");
    WriteFileWhole(file, sql);
    request.source.reset();
    request.settings.from_source = false;
    request.settings.sql_files = {file};
  }
  void Both(std::string_view sql) const {
    source->Run(sql);
    target->Run(sql);
  }
  SetDecision Decide() {
    const auto fresh = source->Connect();
    const auto production = target->Connect();
    return DecideSet(*fresh, *production, request.settings);
  }
  // Scratch, set, labels, schema: what comes before the rows.
  SetDecision BuildSchema() {
    const auto session = target->Connect();
    core::Journal journal(*session, spec.id);
    journal.Create();
    journal.Save({"table-swap", "digest", core::State::kPreparing, request.epoch, {}});
    Scratch scratch(context, request);
    scratch.Make();
    SetDecision decision;
    {
      const auto fresh = db::Connect(scratch.endpoint());
      decision = DecideSet(*fresh, *session, request.settings);
    }
    if (!decision.refused.empty()) return decision;
    AppendLabels(*session, decision, request);
    scratch.MoveSet(decision);
    const auto builder = target->Connect();
    db::Transaction transaction(*builder);
    builder->Execute(DumpShadowSchemas(context, scratch, request, "pre-data", {}));
    transaction.Commit();
    return decision;
  }
  CopiedRows Copy(const SetDecision& decision) {
    std::vector<db::TableName> tables;
    for (const SetTable& table : decision.tables) {
      if (!table.preserved && !table.partitioned) tables.push_back(table.name);
    }
    return CopyRows(context, request, tables);
  }
  // All of it.
  SetDecision Build() {
    SetDecision decision = BuildSchema();
    if (!decision.refused.empty()) return decision;
    Copy(decision);
    const Scratch scratch(context, request);
    BuildPostData(context, scratch, request);
    FinishShadow(context, scratch, request);
    return decision;
  }
  std::string Value(const Place& database, std::string_view sql) const {
    return database.Connect()->Scalar(sql).TextOr("NULL");
  }
  // The built shadow instead of public. REQUIRES: nothing of public is shared.
  void PutShadowInPlace() {
    const Scratch scratch(context, request);
    EXPECT_THAT(WaitingForeignKeys(scratch, request), ::testing::IsEmpty());
    const auto session = target->Connect();
    EXPECT_EQ(
        session
            ->Scalar("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> "
                     "'D'")
            .text,
        "0");
    for (const TriggerState& state : TriggerStates(scratch, request)) {
      const db::TableName shadow{"understudy_shadow_public", state.table.name};
      const std::map<char, std::string> verbs = {
          {'O', "ENABLE "}, {'D', "DISABLE "}, {'A', "ENABLE ALWAYS "}, {'R', "ENABLE REPLICA "}};
      session->Execute("ALTER TABLE ONLY " + shadow.Quoted() + " " + verbs.at(state.enabled) +
                       (state.rule ? "RULE " : "TRIGGER ") + db::QuoteIdentifier(state.name));
    }
    target->Run("DROP SCHEMA public; ALTER SCHEMA understudy_shadow_public RENAME TO public");
  }
  int TargetMajor() const { return target->Connect()->Server().major(); }
  // "why" of the refusals whose object holds `object`; "" = none.
  static std::string RefusalOf(const SetDecision& decision, const std::string& object) {
    std::string why;
    for (const core::PlanRefusal& refusal : decision.refused) {
      if (refusal.object.find(object) != std::string::npos) why += refusal.why + "\n";
    }
    return why;
  }
  static std::vector<std::string> Names(const std::vector<Movable>& objects) {
    std::vector<std::string> names;
    for (const Movable& object : objects) names.push_back(object.Display());
    return names;
  }

  std::unique_ptr<understudy::testing::Database> databases[2];
  std::unique_ptr<Place> source;
  std::unique_ptr<Place> target;
  std::filesystem::path file;
  core::Spec spec;
  core::Context context{spec, nullptr, {}, true};
  ShadowRequest request;
};

}  // namespace understudy::table_swap
