// Databases that are there already. They are used as they are and never dropped; whoever offers
// one says in the database itself, or by the flag, that a rehearsal may change it.
#include "engine/base/error.h"
#include "engine/db/binaries.h"
#include "engine/db/session.h"
#include "harness/world/provision.h"
#include "harness/world/server.h"

namespace understudy::harness {
namespace {

class ExternalLease final : public Lease {
 public:
  ExternalLease(db::Endpoint endpoint, std::string version)
      : endpoint_(std::move(endpoint)), version_(std::move(version)) {}
  const db::Endpoint& endpoint() const override { return endpoint_; }
  std::string provision() const override { return "external"; }
  std::string version() const override { return version_; }
  std::string HowToConnect() const override {
    return (endpoint_.engine() == db::Engine::kSqlite ? "sqlite3 " + endpoint_.file().string()
                                                      : "psql '" + endpoint_.Redacted() + "'");
  }
  std::unique_ptr<Lease> Clone(const std::string&) override {
    throw Error(ErrorKind::kUnsupported,
                "an external database is not cloned: that would make another database on a server "
                "that is not ours");
  }
  void Keep() override {}  // it stays in any case

 private:
  db::Endpoint endpoint_;
  std::string version_;
};

// -c name=value for every session that uses this endpoint: the database's own settings stay.
db::Endpoint WithSettings(const db::Endpoint& endpoint, const Json& settings) {
  std::string options = endpoint.Setting("options");
  for (const auto& [name, value] : settings.items()) {
    const std::string text = value.is_string()    ? value.get<std::string>()
                             : value.is_boolean() ? (value.get<bool>() ? "on" : "off")
                                                  : value.dump();
    options += (options.empty() ? "-c " : " -c ") + name + "=";
    for (const char c : text) {
      if (c == ' ' || c == '\\') options += '\\';
      options += c;
    }
  }
  return options.empty() ? endpoint : endpoint.WithSetting("options", options);
}

[[noreturn]] void Refuse(const std::string& what, const std::string& how) {
  throw Error(ErrorKind::kInvalidSpec,
              what +
                  " carries no mark that it may be changed, so nothing was done to it; if it is "
                  "no production database, " +
                  how,
              "not-marked");
}

constexpr const char* kFlag = "--yes-this-database-may-be-changed";

}  // namespace

std::unique_ptr<Lease> ProvisionExternal(const DatabaseSpec& spec,
                                         const ProvisionOptions& options) {
  if (!spec.endpoint) {
    throw Error(ErrorKind::kInvalidSpec,
                "an external database needs the key \"endpoint\" (env:NAME, postgres://…)");
  }
  if (spec.from) {
    throw Error(ErrorKind::kInvalidSpec,
                "\"from\" makes a copy, an external database is used as it is: give one of both");
  }
  const db::Endpoint given = db::Endpoint::Parse(*spec.endpoint);
  if (spec.engine != db::EngineName(given.engine())) {
    throw Error(ErrorKind::kInvalidSpec,
                "the engine is " + spec.engine + ", the endpoint " + given.Redacted() + " is not");
  }
  if (given.engine() == db::Engine::kSqlite) {
    // A file has no place for a comment of its own.
    if (!spec.may_be_changed) {
      Refuse("the SQLite file " + given.file().string(), std::string("run again with ") + kFlag);
    }
    const auto session = db::Connect(given);
    auto lease = std::make_unique<ExternalLease>(given, session->Server().version_text);
    if (!spec.fixture.is_null()) LoadFixture(given, spec.fixture, ContextFor(spec, options, 0));
    return lease;
  }
  std::string version;
  int major = 0;
  {
    const auto session = db::Connect(given);
    major = session->Server().major();
    version = session->Server().version_text;
    if (spec.version && *spec.version != session->Server().major()) {
      throw Error(ErrorKind::kUnsupported, given.Redacted() + " is PostgreSQL " + version +
                                               "; the scenario asks for " +
                                               std::to_string(*spec.version));
    }
    const bool marked = session
                            ->Scalar(
                                "SELECT coalesce(shobj_description(oid, 'pg_database') "
                                "LIKE '%understudy-rehearsal%', false) "
                                "FROM pg_database WHERE datname = current_database()")
                            .AsBool();
    if (!marked && !spec.may_be_changed) {
      const std::string name = session->Scalar("SELECT quote_ident(current_database())").text;
      Refuse("the database " + given.Redacted(),
             "say COMMENT ON DATABASE " + name + " IS 'understudy-rehearsal', or run again with " +
                 kFlag);
    }
  }
  const db::Endpoint endpoint = WithSettings(given, spec.settings);
  auto lease = std::make_unique<ExternalLease>(endpoint, version);
  if (!spec.settings.empty()) db::Connect(endpoint);  // a wrong setting is told now, not in a phase
  CreateExtensions(endpoint, spec.extensions);
  if (!spec.fixture.is_null() && !spec.fixture.empty()) {
    LoadFixture(endpoint, spec.fixture, ContextFor(spec, options, major));
  }
  return lease;
}

}  // namespace understudy::harness
