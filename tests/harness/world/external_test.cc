#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/db/session.h"
#include "harness/world/world.h"
#include "tests/support/server.h"

namespace understudy::harness {
namespace {

using ::testing::HasSubstr;

class ExternalWorld : public ::testing::Test {
 protected:
  void SetUp() override {
    NEED_POSTGRES();
    database_ = std::make_unique<testing::Database>();
    spec_.name = "main";
    spec_.engine = "postgres";
    spec_.provision = "external";
    spec_.endpoint = database_->endpoint().Conninfo();
    spec_.fixture = Json::array();
  }
  Error Refusal() {
    try {
      Provision(spec_, {});
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorKind::kInternal, "not refused");
  }
  std::unique_ptr<testing::Database> database_;
  DatabaseSpec spec_;
};

TEST_F(ExternalWorld, AnUnmarkedDatabaseIsRefusedAndUntouched) {  // hard-case 127
  const Error refusal = Refusal();
  EXPECT_EQ(refusal.kind(), ErrorKind::kInvalidSpec);
  EXPECT_EQ(refusal.code(), "not-marked");
  EXPECT_THAT(refusal.what(), HasSubstr("COMMENT ON DATABASE"));
  EXPECT_THAT(refusal.what(), HasSubstr("--yes-this-database-may-be-changed"));
}

TEST_F(ExternalWorld, TheMarkOrTheFlagOpensIt) {
  spec_.may_be_changed = true;
  EXPECT_EQ(Provision(spec_, {})->provision(), "external");
  spec_.may_be_changed = false;
  database_->Run("COMMENT ON DATABASE " + database_->endpoint().Setting("dbname") +
                 " IS 'staging; understudy-rehearsal'");
  const auto lease = Provision(spec_, {});
  EXPECT_EQ(lease->power(), nullptr);
  EXPECT_THROW(lease->Clone("x"), Error);
}

TEST_F(ExternalWorld, SettingsReachEverySessionAndNotTheDatabase) {
  spec_.may_be_changed = true;
  spec_.settings = {{"application_name", "unused"}, {"work_mem", "9MB"}};
  const auto lease = Provision(spec_, {});
  EXPECT_EQ(db::Connect(lease->endpoint())->Scalar("SHOW work_mem").text, "9MB");
  EXPECT_NE(database_->Connect()->Scalar("SHOW work_mem").text, "9MB");
}

TEST_F(ExternalWorld, AServerThatIsNotThereIsUnavailable) {
  spec_.endpoint = "postgres://nobody:hidden-secret@127.0.0.1:1/none";
  const Error refusal = Refusal();
  EXPECT_EQ(refusal.kind(), ErrorKind::kUnavailable);
  EXPECT_EQ(std::string(refusal.what()).find("hidden-secret"), std::string::npos);
}

TEST_F(ExternalWorld, AnotherEngineOrVersionThanItsEndpointIsRefused) {
  spec_.version = 12;
  EXPECT_THAT(Refusal().what(), HasSubstr("asks for 12"));
  spec_.version.reset();
  spec_.engine = "sqlite";
  EXPECT_THAT(Refusal().what(), HasSubstr("is not"));
}

}  // namespace
}  // namespace understudy::harness
