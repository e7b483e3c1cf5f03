#include "harness/world/copy.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <optional>
#include <regex>
#include <set>
#include <thread>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/log.h"
#include "engine/base/owner.h"
#include "engine/base/redact.h"
#include "engine/db/client_tools.h"
#include "engine/db/identifier.h"
#include "engine/db/session.h"
#include "harness/world/provision.h"
#include "harness/world/server.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kErrorsShown = 5;
// pg_dump waits so long for a lock on the source; a longer wait would queue its users behind it.
constexpr const char* kLockWait = "--lock-wait-timeout=5000";

std::string Jobs() {
  return "--jobs=" + std::to_string(std::clamp(std::thread::hardware_concurrency(), 1U, 4U));
}

std::string Head(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string head(4096, '\0');
  in.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(std::max<std::streamsize>(0, in.gcount())));
  return head;
}

bool IsTar(const std::string& head) {
  return head.size() > 262 && head.compare(257, 5, "ustar") == 0;
}

// Gathers what a tool complains about; a statement's continuation lines are left out.
class Complaints {
 public:
  void Take(std::string_view line) {
    const auto at = line.find("ERROR:  ");
    const auto own = line.find(": error: ");
    std::string message;
    if (at != std::string_view::npos) {
      message = line.substr(at + 8);
    } else if (line.find("FATAL:  ") != std::string_view::npos) {
      message = line;
    } else if (own != std::string_view::npos &&
               line.substr(0, own).find(' ') == std::string_view::npos) {
      message = line.substr(own + 9);
      // The head of a message that an ERROR: line follows on.
      if (message.rfind("could not execute query:", 0) == 0 && message.size() < 26) return;
    } else {
      return;
    }
    if (IsHarmlessRestoreError(message)) {
      log::Debug("harmless while restoring: " + message);
      ++harmless_;
    } else if (serious_.size() < 1000) {
      serious_.push_back(Redact(message));
    }
  }
  std::size_t harmless() const { return harmless_; }
  const std::vector<std::string>& serious() const { return serious_; }

 private:
  std::size_t harmless_ = 0;
  std::vector<std::string> serious_;
};

void Judge(const Complaints& complaints, const Outcome& outcome, const std::string& tool,
           const std::string& source, const ProvisionOptions& options) {
  if (options.stop && options.stop()) throw Error(ErrorKind::kCancelled, "stopped while copying");
  if (complaints.serious().empty()) {
    if (outcome.ok() || complaints.harmless() > 0) return;
    throw Error(ErrorKind::kConstraint, tool + " of " + source + " failed (status " +
                                            std::to_string(outcome.exit_status) +
                                            "): " + Redact(outcome.err.substr(0, 800)));
  }
  std::string all;
  ErrorKind kind = ErrorKind::kConstraint;
  std::string hint;
  std::string code;
  for (std::size_t i = 0; i < complaints.serious().size(); ++i) {
    const std::string& message = complaints.serious()[i];
    if (i < kErrorsShown) all += (i > 0 ? "; " : "") + message;
    if (message.find("extension") != std::string::npos &&
        (message.find("is not available") != std::string::npos ||
         message.find("control file") != std::string::npos)) {
      kind = ErrorKind::kEnvironment;
      hint = "; install the extension for this server's version, or use an image that has it";
    }
    if (message.find("No space left") != std::string::npos) {
      kind = ErrorKind::kEnvironment;
      code = "ENOSPC";
      hint = "; free some disk space";
    }
    if (message.find("unsupported version") != std::string::npos) {
      kind = ErrorKind::kEnvironment;
      hint = "; the dump was written by a newer pg_dump: choose that \"version\" for the database";
    }
  }
  const std::size_t more =
      complaints.serious().size() - std::min(kErrorsShown, complaints.serious().size());
  if (more > 0) all += "; and " + std::to_string(more) + " more";
  throw Error(kind, source + " could not be restored whole: " + all + hint, code);
}

std::string Unquote(const std::string& name) {
  if (name.size() < 2 || name.front() != '"') return name;
  std::string plain;
  for (std::size_t i = 1; i + 1 < name.size(); ++i) {
    plain += name[i];
    if (name[i] == '"') ++i;
  }
  return plain;
}

// pg_dump writes each statement that names a role on one line.
class RoleFinder {
 public:
  void Take(const std::string& line) {
    if (in_copy_) {
      in_copy_ = line != "\\.";
      return;
    }
    if (line.rfind("COPY ", 0) == 0 && line.find(" FROM stdin;") != std::string::npos) {
      in_copy_ = true;
      return;
    }
    for (const std::string& role : RolesOfLine(line)) roles_.insert(role);
  }
  const std::set<std::string>& roles() const { return roles_; }

 private:
  bool in_copy_ = false;
  std::set<std::string> roles_;
};

void MakeRoles(const std::set<std::string>& roles, const db::Endpoint& database) {
  const auto session = db::Connect(database);
  for (const std::string& role : roles) {
    if (role.empty() || role.rfind("pg_", 0) == 0) continue;
    if (session->MaybeScalar("SELECT 1 FROM pg_roles WHERE rolname = $1",
                             {db::Value::Text(role)})) {
      continue;
    }
    try {
      session->Execute("CREATE ROLE " + db::QuoteIdentifier(role) + " NOLOGIN");
    } catch (const Error& error) {
      if (error.code() != "42710" && error.code() != "23505") throw;  // another thread was faster
    }
  }
}

void RestorePlain(const fs::path& file, const db::Endpoint& database, const db::ClientTools& tools,
                  const ProvisionOptions& options) {
  RoleFinder finder;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) finder.Take(line);
  MakeRoles(finder.roles(), database);
  Complaints complaints;
  db::ClientTools::Job job;
  job.argv = {"psql", "-X", "-q", "-v", "ON_ERROR_STOP=0", "-f", file.string()};
  job.files = {file};
  job.on_error_line = [&](std::string_view line) { complaints.Take(line); };
  Judge(complaints, tools.Run(job, database, options.stop), "psql", file.string(), options);
}

// Newer servers of some majors (15.20) keep a column's version among its options; another major's
// pg_dump takes it for an option and writes it, and no server lets anybody set it.
const std::regex& AttributeVersion() {
  static const std::regex pattern(R"(( SET \()(?:pg_attver=\d+(?:, )?)(.*\);)$)");
  return pattern;
}

// `line` without that option; nullopt when nothing else was set by it.
std::optional<std::string> WithoutAttributeVersion(const std::string& line) {
  if (line.find(" SET (pg_attver=") == std::string::npos || line.rfind("ALTER ", 0) != 0)
    return line;
  const std::string rest = std::regex_replace(line, AttributeVersion(), "$1$2");
  if (rest.ends_with(" SET ();")) return std::nullopt;
  return rest;
}

void RestoreArchive(const fs::path& path, const db::Endpoint& database,
                    const db::ClientTools& tools, const ProvisionOptions& options) {
  const OwnedFolder scratch("copy", options.run_id);
  const bool tar = !fs::is_directory(path) && IsTar(Head(path));
  const auto as_text = [&](const std::string& part, const fs::path& file) {
    Complaints complaints;
    db::ClientTools::Job job;
    job.argv = {"pg_restore", part, "--file=" + file.string(), path.string()};
    job.files = {path, scratch.path()};
    job.on_error_line = [&](std::string_view line) { complaints.Take(line); };
    Judge(complaints, tools.Run(job, database, options.stop), "pg_restore", path.string(), options);
  };
  const auto restore = [&](const std::vector<std::string>& parts) {
    Complaints complaints;
    db::ClientTools::Job job;
    job.argv = {"pg_restore", "--verbose", "--no-subscriptions",
                "--dbname=" + database.Setting("dbname")};
    job.argv.insert(job.argv.end(), parts.begin(), parts.end());
    if (!tar) job.argv.push_back(Jobs());
    job.argv.push_back(path.string());
    job.files = {path};
    job.on_error_line = [&](std::string_view line) {
      if (const auto at = line.find("processing data for table "); at != std::string_view::npos) {
        Tell(options, "restoring " + std::string(line.substr(at + 26)));
      }
      complaints.Take(line);
    };
    Judge(complaints, tools.Run(job, database, options.stop), "pg_restore", path.string(), options);
  };

  // Its DDL as text, for the roles in it.
  RoleFinder finder;
  bool has_versions = false;
  const fs::path schema = scratch.path() / "schema.sql";
  as_text("--schema-only", schema);
  {
    std::ifstream in(schema);
    for (std::string line; std::getline(in, line);) {
      finder.Take(line);
      has_versions = has_versions || WithoutAttributeVersion(line) != line;
    }
  }
  MakeRoles(finder.roles(), database);
  if (!has_versions) return restore({});

  // pg_restore would send the option together with its CREATE TABLE: the definitions go by psql.
  const fs::path before = scratch.path() / "before.sql";
  const fs::path filtered = scratch.path() / "filtered.sql";
  as_text("--section=pre-data", before);
  {
    std::ifstream in(before);
    std::ofstream out(filtered);
    for (std::string line; std::getline(in, line);) {
      if (const auto kept = WithoutAttributeVersion(line)) out << *kept << "\n";
    }
  }
  RestorePlain(filtered, database, tools, options);
  restore({"--section=data"});
  restore({"--section=post-data"});
}

void CopyEndpoint(const db::Endpoint& source, const db::Endpoint& database,
                  const db::ClientTools& tools, int target_major, const ProvisionOptions& options) {
  if (source.engine() != db::Engine::kPostgres) {
    throw Error(
        ErrorKind::kInvalidSpec,
        "from: a PostgreSQL database is copied from PostgreSQL, not from " + source.Redacted());
  }
  db::SessionOptions read_only;
  read_only.read_only = true;
  const auto session = db::Connect(source, read_only);
  if (session->Server().major() > target_major) {
    throw Error(ErrorKind::kUnsupported,
                source.Redacted() + " is PostgreSQL " + session->Server().version_text +
                    ", newer than the target's " + std::to_string(target_major) +
                    ", whose pg_dump refuses it: ask for \"version\": " +
                    std::to_string(session->Server().major()) + " or newer");
  }
  const OwnedFolder scratch("copy", options.run_id);
  const fs::path dump = scratch.path() / "dump";
  Tell(options, "copying " + source.Redacted());
  Complaints complaints;
  db::ClientTools::Job job;
  job.argv = {"pg_dump",   "--format=directory", Jobs(),
              "--no-sync", "--verbose",          "--no-subscriptions",
              kLockWait,   "--compress=1",       "--file=" + dump.string()};
  job.files = {scratch.path()};
  job.options = "-c default_transaction_read_only=on";
  job.on_error_line = [&](std::string_view line) {
    if (const auto at = line.find("dumping contents of table "); at != std::string_view::npos) {
      Tell(options, "copying " + std::string(line.substr(at + 26)));
    }
    complaints.Take(line);
  };
  Judge(complaints, tools.Run(job, source, options.stop), "pg_dump", source.Redacted(), options);
  RestoreArchive(dump, database, tools, options);
  CopyDatabaseProperties(*session, session->Scalar("SELECT current_database()").text,
                         *db::Connect(database), database.Setting("dbname"));
}

}  // namespace

SourceKind KindOfSource(const std::string& from) {
  std::error_code ignored;
  if (!fs::exists(from, ignored)) {
    if (db::Endpoint::LooksLikeOne(from)) return SourceKind::kEndpoint;
    throw Error(ErrorKind::kInvalidSpec, "from: no such file: " + Redact(from) +
                                             " (and it is no endpoint: postgres://…, env:NAME)");
  }
  if (fs::is_directory(from, ignored)) {
    if (fs::exists(fs::path(from) / "toc.dat", ignored)) return SourceKind::kArchive;
    throw Error(ErrorKind::kInvalidSpec,
                "from: the folder " + from + " is no dump (no toc.dat): make one with pg_dump -Fd");
  }
  const std::string head = Head(from);
  if (head.rfind("PGDMP", 0) == 0 || IsTar(head)) return SourceKind::kArchive;
  if (head.rfind("SQLite format 3", 0) == 0) {
    throw Error(ErrorKind::kInvalidSpec,
                "from: " + from + " is an SQLite file, the database is PostgreSQL");
  }
  if (head.size() > 1 && static_cast<unsigned char>(head[0]) == 0x1f &&
      static_cast<unsigned char>(head[1]) == 0x8b) {
    throw Error(ErrorKind::kInvalidSpec, "from: " + from + " is compressed: gunzip it first");
  }
  if (head.find("PostgreSQL database cluster dump") != std::string::npos) {
    throw Error(ErrorKind::kInvalidSpec,
                "from: " + from +
                    " is a dump of a whole cluster (pg_dumpall); one database is needed: pg_dump");
  }
  return head.find("PostgreSQL database dump") != std::string::npos ? SourceKind::kPlainDump
                                                                    : SourceKind::kSql;
}

bool IsHarmlessRestoreError(std::string_view message) {
  // What a database has from the start, and settings for the restoring session alone that another
  // version's pg_dump writes.
  static const std::regex known(
      "^(schema \"public\" already exists"
      "|unrecognized parameter \"pg_attver\""
      "|language \"plpgsql\" already exists"
      "|extension \"plpgsql\" already exists"
      "|unrecognized configuration parameter \"(transaction_timeout|default_table_access_method|"
      "idle_in_transaction_session_timeout|row_security|xmloption)\")$");
  std::string text(message);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.pop_back();
  const std::string query = "could not execute query: ERROR:  ";
  if (text.rfind(query, 0) == 0) text.erase(0, query.size());
  return std::regex_match(text, known);
}

std::vector<std::string> RolesOfLine(const std::string& line) {
  if (line.size() > 4000) return {};
  static const std::string kName = R"re(("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*))re";
  static const std::regex owner("^ALTER .* OWNER TO " + kName + ";$");
  static const std::regex grant("^(?:ALTER DEFAULT PRIVILEGES .* )?GRANT .* TO " + kName +
                                "(?: WITH GRANT OPTION)?;$");
  static const std::regex revoke("^(?:ALTER DEFAULT PRIVILEGES .* )?REVOKE .* FROM " + kName +
                                 ";$");
  static const std::regex for_role("^ALTER DEFAULT PRIVILEGES FOR ROLE " + kName + " .*");
  static const std::regex policy("^CREATE POLICY .*? TO (.+?)(?: USING .*| WITH CHECK .*)?;$");
  static const std::regex session("^SET SESSION AUTHORIZATION " + kName + ";$");
  std::vector<std::string> roles;
  std::smatch match;
  const auto first = [&](const std::string& prefix) { return line.rfind(prefix, 0) == 0; };
  if (first("ALTER ") && std::regex_match(line, match, owner)) roles.push_back(match[1]);
  if ((first("GRANT ") || first("ALTER DEFAULT")) && std::regex_match(line, match, grant)) {
    roles.push_back(match[1]);
  }
  if ((first("REVOKE ") || first("ALTER DEFAULT")) && std::regex_match(line, match, revoke)) {
    roles.push_back(match[1]);
  }
  if (first("ALTER DEFAULT") && std::regex_match(line, match, for_role)) roles.push_back(match[1]);
  if (first("SET SESSION") && std::regex_match(line, match, session)) roles.push_back(match[1]);
  if (first("CREATE POLICY") && std::regex_match(line, match, policy)) {
    const std::string list = match[1];
    static const std::regex each(kName);
    for (auto it = std::sregex_iterator(list.begin(), list.end(), each);
         it != std::sregex_iterator(); ++it) {
      roles.push_back((*it)[1]);
    }
  }
  for (std::string& role : roles) role = Unquote(role);
  std::erase(roles, "PUBLIC");
  std::erase(roles, "public");
  return roles;
}

void CopyInto(const DatabaseSpec& spec, const db::Endpoint& database,
              const std::string& tools_image, const ProvisionOptions& options) {
  const std::string& from = *spec.from;
  const SourceKind kind = KindOfSource(from);
  const int major = db::Connect(database)->Server().major();
  Tell(options,
       "restoring " + (kind == SourceKind::kEndpoint ? std::string("a copy")
                                                     : fs::path(from).filename().string()));
  if (kind == SourceKind::kSql) {
    LoadSqlFile(database, from, ContextFor(spec, options, major));
    return;
  }
  const db::ClientTools tools = db::ClientTools::Find(major, tools_image);
  switch (kind) {
    case SourceKind::kPlainDump:
      return RestorePlain(from, database, tools, options);
    case SourceKind::kArchive:
      return RestoreArchive(from, database, tools, options);
    case SourceKind::kEndpoint:
      return CopyEndpoint(db::Endpoint::Parse(from), database, tools, major, options);
    case SourceKind::kSql:
      break;
  }
}

std::string DigestOfSource(const std::string& from) {
  db::SessionOptions read_only;
  read_only.read_only = true;
  const auto session = db::Connect(db::Endpoint::Parse(from), read_only);
  const bool old = session->Server().major() < 13;
  // Every transaction that wrote has raised xmax since; one that is in progress stands below it.
  const std::string snapshot = session
                                   ->Scalar(old ? "SELECT txid_current_snapshot()::text"
                                                : "SELECT pg_current_snapshot()::text")
                                   .text;
  const auto colon = snapshot.find(':');
  if (snapshot != snapshot.substr(0, colon) + ":" + snapshot.substr(0, colon) + ":") return "";
  std::string server;
  try {
    server = session->Scalar("SELECT system_identifier::text FROM pg_control_system()").text;
  } catch (const Error&) {
    return "";  // without the right to ask, another server may stand behind the same name
  }
  const std::string database = session
                                   ->Scalar(
                                       "SELECT oid::text || current_user FROM pg_database "
                                       "WHERE datname = current_database()")
                                   .text;
  return Sha256Hex(server + " " + database + " " + snapshot);
}

}  // namespace understudy::harness
