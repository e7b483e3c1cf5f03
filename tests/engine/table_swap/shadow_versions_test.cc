// A source that is older than the target, on servers of two majors.
#include <gmock/gmock.h>

#include "engine/base/owner.h"
#include "harness/world/world.h"
#include "tests/engine/table_swap/exotic.h"
#include "tests/engine/table_swap/shadow_fixture.h"

namespace understudy::table_swap {
namespace {

class ShadowVersionsTest : public ShadowTest {
 protected:
  void SetUp() override {
    NEED_DOCKER();
    if (std::getenv("UNDERSTUDY_TEST_ALL") == nullptr) GTEST_SKIP() << "only in make test-all";
  }
  void TearDown() override {
    if (target) ShadowTest::TearDown();
    leases.clear();
  }
  const db::Endpoint& Server(int major) { return leases.emplace_back(Lease(major))->endpoint(); }
  std::unique_ptr<harness::Lease> Lease(int major) {
    harness::DatabaseSpec database;
    database.name = "v" + std::to_string(major);
    database.engine = "postgres";
    database.provision = "docker";
    database.version = major;
    database.fixture = Json::array();
    harness::ProvisionOptions options;
    options.run_id = "test-shadow";
    options.scenario = "shadow-versions";
    return harness::Provision(database, options);
  }
  std::vector<std::unique_ptr<harness::Lease>> leases;
};

// The same by PostgreSQL's own tools: what another major words otherwise is worded alike in both.
db::Endpoint Restored(const db::Endpoint& source, const db::Endpoint& beside) {
  const db::Endpoint reference = beside.WithDatabase("reference");
  db::Connect(beside)->Execute("CREATE DATABASE reference TEMPLATE template0");
  const OwnedFolder folder("test", "");
  db::ClientTools::Job job;
  job.files = {folder.path()};
  const std::string file = (folder.path() / "dump").string();
  const db::ClientTools tools = db::ClientTools::Find(17, "");
  job.argv = {"pg_dump", "-Fc", "--file=" + file};
  EXPECT_TRUE(tools.Run(job, source, {}).ok());
  job.argv = {"pg_restore", "--exit-on-error", "--dbname=reference", file};
  const Outcome restored = tools.Run(job, reference, {});
  EXPECT_TRUE(restored.ok()) << restored.err;
  return reference;
}

TEST_F(ShadowVersionsTest, CarriesEverythingFrom13To17) {
  const db::Endpoint old_server = Server(13);
  const db::Endpoint new_server = Server(17);
  Begin(old_server, new_server);
  Both(kExtensions);
  source->Run(kExotic);
  source->Run(kExoticRows);
  const std::string before = DumpOf(Restored(old_server, new_server), 17);
  const SetDecision decision = Build();
  for (const auto& refusal : decision.refused) {
    ADD_FAILURE() << refusal.object << ": " << refusal.why;
  }
  PutShadowInPlace();
  EXPECT_EQ(before, DumpOf(target->endpoint(), 17));
}

TEST_F(ShadowVersionsTest, RefusesASourceThatIsNewer) {
  const db::Endpoint old_server = Server(13);
  const db::Endpoint new_server = Server(17);
  Begin(new_server, old_server);
  try {
    BuildSchema();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kUnsupported);
  }
}

// As a plan looks: at the source itself, not at a copy of the target's major.
TEST_F(ShadowVersionsTest, SharesWhatTheOlderMajorOnlyWordsOtherwise) {
  const db::Endpoint old_server = Server(13);
  const db::Endpoint new_server = Server(17);
  Begin(old_server, new_server);
  Both(
      "CREATE TYPE span AS RANGE (subtype = integer);"
      "CREATE COLLATION german (provider = icu, locale = 'de');"
      "CREATE COLLATION bytes (provider = libc, locale = 'C');"
      "CREATE DOMAIN word AS text COLLATE german;"
      "CREATE TYPE pair AS (a text COLLATE bytes, b span);"
      "CREATE TABLE t (id integer PRIMARY KEY, s span, w word, p pair)");
  const SetDecision decision = DecideSet(*source->Connect(), *target->Connect(), request.settings);
  EXPECT_THAT(Names(decision.shared),
              ::testing::IsSupersetOf({"type public.span", "collation public.german",
                                       "collation public.bytes", "domain public.word",
                                       "type public.pair"}));
  EXPECT_THAT(decision.warnings, ::testing::IsEmpty());
}

}  // namespace
}  // namespace understudy::table_swap
