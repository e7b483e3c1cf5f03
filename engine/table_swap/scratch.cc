#include "engine/table_swap/scratch.h"

#include <locale.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <regex>
#include <set>
#include <sstream>

#include "engine/base/digest.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/owner.h"
#include "engine/capture/postgres.h"
#include "engine/db/binaries.h"
#include "engine/db/client_tools.h"
#include "engine/db/identifier.h"
#include "engine/db/script.h"
#include "engine/db/session.h"
#include "engine/table_swap/dependents.h"
#include "engine/table_swap/lost_operators.h"

namespace understudy::table_swap {
namespace fs = std::filesystem;
namespace {

// pg_dump waits so long for a lock on the source; a longer wait would queue its users behind it.
constexpr const char* kLockWait = "--lock-wait-timeout=5000";
constexpr std::size_t kErrorLinesShown = 12;
constexpr const char* kLocalKind = "scratch";
// Each takes several places in the server's lock table until its transaction's end.
constexpr std::size_t kMovedTogether = 50;

// Entries of a dump that do not belong to the schema's own objects, or act on the whole server.
// User mappings hold secrets; event triggers would act on what we do in the scratch.
const std::vector<std::string>& Outsiders() {
  static const std::vector<std::string> kinds = {"EVENT TRIGGER",
                                                 "PUBLICATION TABLE",
                                                 "PUBLICATION TABLES IN SCHEMA",
                                                 "PUBLICATION",
                                                 "SUBSCRIPTION TABLE",
                                                 "SUBSCRIPTION",
                                                 "USER MAPPING",
                                                 "DEFAULT ACL",
                                                 "DATABASE PROPERTIES",
                                                 "DATABASE",
                                                 "SECURITY LABEL",
                                                 "BLOB METADATA",
                                                 "BLOB",
                                                 "BLOBS"};
  return kinds;
}

std::string LastLines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  std::string joined;
  const std::size_t first = lines.size() > kErrorLinesShown ? lines.size() - kErrorLinesShown : 0;
  for (std::size_t i = first; i < lines.size(); ++i) joined += "\n  " + lines[i];
  return joined;
}

// Runs one of PostgreSQL's programs; every failure is ours.
void RunTool(const core::Context& context, const db::ClientTools& tools,
             const db::ClientTools::Job& job, const db::Endpoint& endpoint,
             const std::string& what) {
  const Outcome outcome = tools.Run(job, endpoint, [&] { return context.stopped(); });
  context.ThrowIfStopped();
  if (!outcome.ok()) {
    throw Error(ErrorKind::kConstraint,
                what + " failed (" + job.argv[0] + " of " + endpoint.Redacted() +
                    "):" + LastLines(outcome.err) +
                    "\nProduction is untouched. Mend the cause, then run prepare again",
                "client-tool");
  }
}

// The lines of `pg_restore --list` less those of the kinds `without` and comments on them.
std::string FilterList(const std::string& list, const std::vector<std::string>& without) {
  static const std::regex entry(R"(^\d+; \d+ \d+ (?:COMMENT - )?(.*)$)");
  std::string kept;
  std::istringstream in(list);
  std::smatch match;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line[0] == ';') continue;
    if (std::regex_match(line, match, entry)) {
      const std::string rest = match[1];
      const bool out = std::ranges::any_of(
          without, [&](const std::string& kind) { return rest.starts_with(kind + " "); });
      if (out) continue;
    }
    kept += line + "\n";
  }
  return kept;
}

// A schema as pg_dump takes it where patterns are allowed: meaning this name and no other.
std::string ExactPattern(const std::string& schema) { return db::QuoteIdentifier(schema); }

// What pg_dump writes for psql alone: \restrict TOKEN as the first command, \unrestrict TOKEN as
// the last. Both are about psql's own commands and say nothing to the server.
std::string WithoutPsqlGuard(std::string text) {
  const auto cut = [&](std::size_t at) {
    const std::size_t end = text.find('\n', at);
    text.erase(at, end == std::string::npos ? std::string::npos : end + 1 - at);
  };
  if (text.starts_with("\\restrict ")) {
    cut(0);
  } else if (const auto at = text.find("\n\\restrict "); at != std::string::npos) {
    cut(at + 1);
  } else {
    return text;
  }
  if (const auto at = text.rfind("\n\\unrestrict "); at != std::string::npos) cut(at + 1);
  return text;
}

// Policies of the source that name roles which the target's server has not, as the entries of a
// dump begin. On tables that production has as well they are left out, since production's own are
// used; on others they cannot be carried.
std::vector<std::string> PoliciesWithoutRoles(db::Session& source, db::Session& target) {
  std::set<std::string> roles;
  for (const db::Row& row : target.Query("SELECT rolname FROM pg_roles").rows) {
    roles.insert(row[0].text);
  }
  std::vector<std::string> entries;
  for (const db::Row& row : source
                                .Query(R"(
SELECT n.nspname, c.relname, p.polname, r.rolname
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_roles r ON r.oid = ANY (p.polroles))")
                                .rows) {
    if (roles.contains(row[3].text)) continue;
    const db::TableName table{row[0].text, row[1].text};
    if (target.Scalar("SELECT to_regclass($1) IS NULL", {db::Value::Text(table.Quoted())})
            .AsBool()) {
      throw Error(ErrorKind::kUnsupported,
                  "the policy " + db::DisplayIdentifier(row[2].text) + " on " + table.Display() +
                      " is for the role " + db::DisplayIdentifier(row[3].text) +
                      ", which the target's server has not: create the role there first");
    }
    entries.push_back("POLICY " + row[0].text + " " + row[1].text + " " + row[2].text);
  }
  return entries;
}

// Triggers by which another migration captures or keeps a way back, as the entries of a dump begin:
// their functions are in the schema that is left out.
std::vector<std::string> CaptureTriggers(db::Session& source) {
  std::vector<std::string> entries;
  for (const db::Row& row :
       source
           .Query("SELECT n.nspname, c.relname, t.tgname FROM pg_trigger t "
                  "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = "
                  "c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid "
                  "JOIN pg_namespace f ON f.oid = p.pronamespace "
                  "WHERE NOT t.tgisinternal AND f.nspname = $1",
                  {db::Value::Text(capture::kSchema)})
           .rows) {
    std::string entry = "TRIGGER " + row[0].text + " " + row[1].text + " " + row[2].text;
    std::ranges::replace_if(
        entry, [](char c) { return c == '\n' || c == '\r'; }, ' ');
    entries.push_back(std::move(entry));
  }
  return entries;
}

// Whether every tablespace that the source's objects lie in is on the target's server too.
bool HasTablespacesOf(db::Session& source, db::Session& target) {
  for (const db::Row& row :
       source
           .Query("SELECT DISTINCT s.spcname FROM pg_class c JOIN pg_tablespace s ON s.oid = "
                  "c.reltablespace WHERE c.oid >= 16384")
           .rows) {
    if (!target.Scalar("SELECT EXISTS (SELECT FROM pg_tablespace WHERE spcname = $1)", {row[0]})
             .AsBool()) {
      return false;
    }
  }
  return true;
}

// The words by which a statement that begins at `at` acts on the server; "" = it does not.
std::string ServerWords(const std::vector<std::string>& tokens, std::size_t at) {
  static const std::set<std::string> shared = {"ROLE",     "USER",       "GROUP",
                                               "DATABASE", "TABLESPACE", "SYSTEM"};
  const auto word = [&](std::size_t place) {
    return at + place < tokens.size() ? tokens[at + place] : std::string();
  };
  if (word(0) == "GRANT" || word(0) == "REVOKE") {  // a membership is ON nothing
    const auto begin = tokens.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = std::find(begin, tokens.end(), ";");
    return std::find(begin, end, "ON") == end ? word(0) + " of a role" : "";
  }
  const bool owned = word(1) == "OWNED" && (word(0) == "REASSIGN" || word(0) == "DROP");
  const bool object = (word(0) == "CREATE" || word(0) == "ALTER" || word(0) == "DROP") &&
                      shared.contains(word(1)) && !(word(1) == "USER" && word(2) == "MAPPING");
  return owned || object ? word(0) + " " + word(1) : "";
}

std::string ServerWordsAnywhere(const std::vector<std::string>& tokens) {
  for (std::size_t at = 0; at < tokens.size(); ++at) {
    if (std::string words = ServerWords(tokens, at); !words.empty()) return words;
  }
  return "";
}

std::vector<std::string> AllTokens(const std::string& sql) {
  return db::Tokens(sql, db::Engine::kPostgres, std::numeric_limits<std::size_t>::max());
}

// The words in capitals and the semicolons of a text that is no SQL, comments or not.
std::vector<std::string> RawWords(const std::string& text) {
  std::vector<std::string> words(1);
  for (const char c : text) {
    const bool small = c >= 'a' && c <= 'z';
    if (small || c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')) {
      words.back() += small ? static_cast<char>(c - 'a' + 'A') : c;
      continue;
    }
    if (!words.back().empty()) words.emplace_back();
    if (c == ';') {
      words.back() = ";";
      words.emplace_back();
    }
  }
  return words;
}

// The words and semicolons of `sql`, with those of its strings, and of the strings in them, in
// their place: what || puts together is together. Of a part of a statement that cannot be read by
// itself, every word.
std::vector<std::string> WordsWithStrings(const std::string& sql) {
  try {
    const std::vector<std::string> contents = db::StringContents(sql, db::Engine::kPostgres);
    auto content = contents.begin();
    std::vector<std::string> words;
    for (std::string& token : AllTokens(sql)) {
      if (token == "''") {
        std::ranges::move(WordsWithStrings(*content++), std::back_inserter(words));
      } else if (token == ";" || token[0] == '_' || token[0] == '"' ||
                 (token[0] >= 'A' && token[0] <= 'Z')) {
        words.push_back(std::move(token));
      }
    }
    return words;
  } catch (const Error&) {
    return RawWords(sql);
  }
}

// Whether code of these tokens may run what its strings say: EXECUTE (not the privilege), a block
// or a routine of its own, dblink.
bool RunsStrings(const std::vector<std::string>& tokens) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::string next = i + 1 < tokens.size() ? tokens[i + 1] : std::string();
    if (tokens[i] == "EXECUTE" && next != "ON") return true;
    if (tokens[i] == "DO" && next != "NOTHING" && next != "UPDATE") return true;
    if ((tokens[i] == "CREATE" || tokens[i] == "REPLACE") &&
        (next == "FUNCTION" || next == "PROCEDURE")) {
      return true;
    }
    if (tokens[i].starts_with("DBLINK")) return true;
  }
  return false;
}

// Of a block (DO), `sql` with the tokens `tokens`.
std::string ServerWordsOfBlock(const std::string& sql, const std::vector<std::string>& tokens) {
  const std::vector<std::string> contents = db::StringContents(sql, db::Engine::kPostgres);
  const auto language = std::ranges::find(tokens, "LANGUAGE");
  if (language != tokens.end() && language + 1 != tokens.end()) {
    std::string name = language[1];
    if (name == "''") {  // the first string, unless the body stands before it
      name =
          contents[std::find(tokens.begin(), language, "''") == language ? 0 : contents.size() - 1];
    }
    if (name != "PLPGSQL" && name != "plpgsql" && name != "\"plpgsql\"") {
      return ServerWordsAnywhere(RawWords(sql));  // not SQL
    }
  }
  for (const std::string& body : contents) {
    std::vector<std::string> code;
    try {
      code = AllTokens(body);
    } catch (const Error&) {  // the server will say what is wrong with it
      return ServerWordsAnywhere(RawWords(body));
    }
    std::string found = ServerWordsAnywhere(code);
    if (found.empty() && RunsStrings(code)) found = ServerWordsAnywhere(WordsWithStrings(body));
    if (!found.empty()) return found;
  }
  return "";
}

// Roles, databases, tablespaces, the server's settings, memberships: what a scratch database beside
// the target would not keep to itself, as the words that say so; "" = nothing. Of a block (DO) its
// code, and its strings where it may run them; what it puts together from values cannot be seen.
// The bodies of functions only define what may be called, and are not looked into.
std::string ServerWords(const std::string& sql) {
  const std::vector<std::string> tokens = AllTokens(sql);
  if (tokens.empty() || tokens[0] != "DO") return ServerWords(tokens, 0);
  return ServerWordsOfBlock(sql, tokens);
}

std::string CreateSql(db::Session& target, const std::string& name) {
  const int major = target.Server().major();
  const std::string locale = major >= 17   ? "datlocale"
                             : major >= 15 ? "daticulocale"
                                           : "NULL::text";
  const db::Row row = target
                          .Query("SELECT pg_encoding_to_char(encoding), datcollate, datctype, " +
                                 std::string(major >= 15 ? "datlocprovider" : "'c'") + ", " +
                                 locale + " FROM pg_database WHERE datname = current_database()")
                          .rows.at(0);
  std::string sql = "CREATE DATABASE " + db::QuoteIdentifier(name) +
                    " TEMPLATE template0 ENCODING " + db::QuoteLiteral(row[0].text) +
                    " LC_COLLATE " + db::QuoteLiteral(row[1].text) + " LC_CTYPE " +
                    db::QuoteLiteral(row[2].text);
  if (row[3].text == "i") sql += " LOCALE_PROVIDER icu ICU_LOCALE " + db::QuoteLiteral(row[4].text);
  if (row[3].text == "b") {
    sql += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + db::QuoteLiteral(row[4].text);
  }
  return sql;
}

// The C library's locale of that name; the server looks for it in the same way.
bool HasLocale(const std::string& name) {
  const locale_t found = ::newlocale(LC_ALL_MASK, name.c_str(), locale_t{});
  if (found == locale_t{}) return false;
  ::freelocale(found);
  return true;
}

// Extensions of `origin` that `target`'s role may not create in a database of its own.
bool NeedsSuperuser(db::Session& target, const std::vector<std::string>& extensions) {
  if (target.Scalar("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").AsBool()) {
    return false;
  }
  const std::string trusted = target.Server().major() >= 13 ? "trusted" : "false";
  return target
      .Scalar(
          "SELECT EXISTS (SELECT FROM pg_available_extension_versions WHERE name = ANY "
          "($1::text[]) AND name <> 'plpgsql' AND superuser AND NOT " +
              trusted + ")",
          {db::TextArray(extensions)})
      .AsBool();
}

// Why no server of this machine can hold the schema of `origin` as `target` would; "" = one can.
std::string WhyNotHere(db::Session& target, db::Session& origin,
                       const std::vector<std::string>& extensions) {
  const std::string major = std::to_string(target.Server().major());
  const auto server = db::FindServer(target.Server().major());
  if (!server) {
    return "this machine has no server programs of PostgreSQL " + major +
           " (the package postgresql-" + major + ")";
  }
  try {
    ServerUser();
  } catch (const Error& error) {
    return error.message();
  }
  for (const std::string& extension : extensions) {
    if (!db::HasExtension(*server, extension)) {
      return "the extension " + extension +
             " is not installed on this machine (a package "
             "postgresql-" +
             major + "-…)";
    }
  }
  std::set<std::string> locales;
  for (const db::Row& row :
       target
           .Query("SELECT datcollate, datctype FROM pg_database WHERE datname = "
                  "current_database()")
           .rows) {
    locales.insert(row[0].text);
    locales.insert(row[1].text);
  }
  // Those of columns, indexes and types, and the user's own.
  for (const db::Row& row : origin
                                .Query(R"(
SELECT DISTINCT l FROM pg_collation c CROSS JOIN LATERAL (VALUES (c.collcollate), (c.collctype)) v(l)
WHERE c.collprovider = 'c' AND (c.oid >= 16384 OR c.oid IN (
  SELECT a.attcollation FROM pg_attribute a WHERE a.attrelid >= 16384
  UNION SELECT t.typcollation FROM pg_type t WHERE t.oid >= 16384
  UNION SELECT unnest(i.indcollation::oid[]) FROM pg_index i WHERE i.indexrelid >= 16384)))")
                                .rows) {
    locales.insert(row[0].text);
  }
  for (const std::string& locale : locales) {
    if (!HasLocale(locale)) {
      return "the locale " + locale + " is not on this machine (locale-gen " + locale + ")";
    }
  }
  return "";
}

}  // namespace

ScratchPlace FindScratchPlace(db::Session& target, db::Session& origin,
                              const std::string& migration_id) {
  std::vector<std::string> extensions;
  for (const db::Row& row : origin.Query("SELECT extname FROM pg_extension ORDER BY 1").rows) {
    extensions.push_back(row[0].text);
  }
  const db::Row role = target
                           .Query(
                               "SELECT rolsuper OR rolcreatedb, quote_ident(current_user) FROM "
                               "pg_roles WHERE rolname = current_user")
                           .rows.at(0);
  const bool may = role[0].AsBool();
  ScratchPlace place;
  place.text = "the database " + Scratch::NameFor(migration_id) +
               " on the target's server with the new schema, to be dropped at the end";
  if (may && !NeedsSuperuser(target, extensions)) return place;
  const std::string why = WhyNotHere(target, origin, extensions);
  if (!why.empty()) {
    if (may) return place;  // the server says what it does not allow
    place.refused =
        "it may not make the scratch database for the new schema on the target's server, and none "
        "can be made on this machine: " +
        why + ": ALTER ROLE " + role[1].text + " CREATEDB";
    return place;
  }
  place.on_target = false;
  place.text = "a throwaway PostgreSQL " + db::FindServer(target.Server().major())->version +
               " on this machine (a unix socket in a temporary folder) with the new schema, to be "
               "removed at the end: the role " +
               role[1].text +
               (may ? " may not create the schema's extensions in a database of its own"
                    : " has no CREATEDB on the target's server");
  return place;
}

Scratch::Scratch(const core::Context& context, const ShadowRequest& request)
    : context_(context),
      request_(request),
      endpoint_(request.target.WithDatabase(NameFor(request.migration_id))) {}

Scratch::~Scratch() = default;

std::string Scratch::NameFor(const std::string& migration_id) {
  return "understudy_scratch_" + Sha256Hex(migration_id).substr(0, 12);
}

bool Scratch::Exists() const {
  if (local_) return true;
  return db::Connect(request_.target)
      ->Scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)",
               {db::Value::Text(NameFor(request_.migration_id))})
      .AsBool();
}

std::vector<std::string> Scratch::Leftovers() const {
  std::vector<std::string> all;
  if (Exists()) all.push_back("database " + NameFor(request_.migration_id));
  for (const fs::path& folder : db::DeadLocalServers(kLocalKind, request_.migration_id)) {
    all.push_back("the throwaway server in " + folder.string());
  }
  return all;
}

void Scratch::Drop() {
  local_.reset();
  db::RemoveDeadLocalServers(kLocalKind, request_.migration_id);
  endpoint_ = request_.target.WithDatabase(NameFor(request_.migration_id));
  if (!Exists()) return;
  const auto session = db::Connect(request_.target);
  const std::string name = NameFor(request_.migration_id);
  if (session->Server().major() >= 13) {
    session->Execute("DROP DATABASE IF EXISTS " + db::QuoteIdentifier(name) + " WITH (FORCE)");
    return;
  }
  session->Query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1",
                 {db::Value::Text(name)});
  session->Execute("DROP DATABASE IF EXISTS " + db::QuoteIdentifier(name));
}

void Scratch::Make() {
  Drop();
  const auto target = db::Connect(request_.target);
  const db::Endpoint& origin = request_.source ? *request_.source : request_.target;
  const std::vector<std::string>& schemas = request_.settings.schemas;
  const auto original = db::Connect(origin, {.read_only = true});
  if (const auto lost = LostOperators(*original, schemas); !lost.empty()) {
    throw Error(ErrorKind::kUnsupported, lost[0].object + ": " + lost[0].why);
  }
  const ScratchPlace place = FindScratchPlace(*target, *original, request_.migration_id);
  if (!place.refused.empty()) throw Error(ErrorKind::kConstraint, place.refused, "42501");
  if (place.on_target) {
    MakeOnTarget(*target);
  } else {
    context_.Log("info", "making " + place.text);
    MakeLocally(*target);
  }
  Fill(origin);
  access_ = {};
  access_.production = ReadAccess(*target, schemas);
  const auto session = db::Connect(endpoint_);
  if (!request_.source) {
    BringGrants(access_.production, *session);
    access_.before = ReadAccess(*session, schemas);
    access_.defaults_before = ReadDefaults(*session, schemas);
    RunFiles();
    access_.defaults_after = ReadDefaults(*session, schemas);
  }
  access_.after = ReadAccess(*session, schemas);
}

void Scratch::MakeOnTarget(db::Session& target) {
  const std::string name = NameFor(request_.migration_id);
  target.Execute(CreateSql(target, name));
  target.Execute("COMMENT ON DATABASE " + db::QuoteIdentifier(name) + " IS " +
                 db::QuoteLiteral("Scratch of the understudy migration " + request_.migration_id +
                                  "; removed by: understudy migrate reset"));
}

// The roles of the target that the schema may name are there too; ours is the superuser.
void Scratch::MakeLocally(db::Session& target) {
  const auto binaries = db::FindServer(target.Server().major());
  local_ = std::make_unique<db::LocalServer>(*binaries, kLocalKind, request_.migration_id,
                                             [this] { return context_.stopped(); });
  const auto server = db::Connect(local_->Maintenance());
  const std::string me = target.Scalar("SELECT current_user").text;
  std::string roles;
  for (const db::Row& row :
       target
           .Query("SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> "
                  "'postgres' ORDER BY 1")
           .rows) {
    roles += "CREATE ROLE " + db::QuoteIdentifier(row[0].text) +
             (row[0].text == me ? " SUPERUSER LOGIN;\n" : ";\n");
  }
  if (!roles.empty()) server->Execute(roles);
  for (const db::Row& row :
       target.Query("SELECT spcname FROM pg_tablespace WHERE spcname !~ '^pg_' ORDER BY 1").rows) {
    local_->MakeTablespace(row[0].text);
  }
  const std::string name = NameFor(request_.migration_id);
  server->Execute(CreateSql(target, name));
  endpoint_ = local_->Maintenance().WithDatabase(name).WithSetting("user", me);
}

void Scratch::Fill(const db::Endpoint& from) {
  const auto target = db::Connect(request_.target);
  db::SessionOptions read_only;
  read_only.read_only = true;
  const auto source = db::Connect(from, read_only);
  const int major = target->Server().major();
  if (source->Server().major() > major) {
    throw Error(ErrorKind::kUnsupported,
                "the source is PostgreSQL " + source->Server().version_text +
                    ", newer than the target's " + target->Server().version_text +
                    ": a new schema travels to the same or a newer major only");
  }
  const db::ClientTools tools = db::ClientTools::Find(major, "");
  const OwnedFolder folder("swap", "");
  const fs::path dump = folder.path() / "schema";
  const fs::path list = folder.path() / "list";
  // Their schema is theirs alone to name; our own objects in a database that was a target before
  // are no part of it.
  std::vector<std::string> ours = {"understudy"};
  for (const std::string& schema : request_.settings.schemas) {
    const SchemaNames names = NamesBeside(schema);
    ours.push_back(names.shadow);
    ours.push_back(names.backup);
  }
  // They are dumped, and cannot be made where those are not. Triggers that capture are left out
  // below.
  auto users = StillDepending(*source, ListMovables(*source, ours));
  std::erase_if(users, [](const std::string& user) { return user.starts_with("trigger "); });
  if (!users.empty()) {
    throw Error(ErrorKind::kUnsupported,
                users[0] +
                    " depends on what understudy has put aside, which is no part of the new "
                    "schema: drop it first");
  }
  db::ClientTools::Job job;
  job.argv = {"pg_dump",      "--format=custom",        "--schema-only",
              "--no-owner",   "--no-privileges",        "--no-publications",
              kLockWait,      "--no-subscriptions",     "--no-security-labels",
              "--compress=0", "--file=" + dump.string()};
  for (const std::string& schema : ours) {
    job.argv.push_back("--exclude-schema=" + ExactPattern(schema));
  }
  job.files = {folder.path()};
  job.options = "-c default_transaction_read_only=on";
  RunTool(context_, tools, job, from, "reading the new schema");

  // Not in one transaction: it would fill the lock table that production's clients share
  // (hard-case 148). A half that is left is made afresh.
  job.options = "-c synchronous_commit=off";
  job.argv = {"pg_restore", "--list", "--file=" + list.string(), dump.string()};
  RunTool(context_, tools, job, endpoint_, "listing the new schema");
  std::vector<std::string> without = Outsiders();
  std::ranges::move(CaptureTriggers(*source), std::back_inserter(without));
  if (request_.source) {
    for (std::string& entry : PoliciesWithoutRoles(*source, *target)) {
      without.push_back(std::move(entry));
    }
  }
  WriteFileWhole(list, FilterList(ReadFile(list), without));
  job.argv = {"pg_restore",
              "--exit-on-error",
              "--no-owner",
              "--no-privileges",
              "--use-list=" + list.string(),
              "--dbname=" + endpoint_.Setting("dbname")};
  if (!HasTablespacesOf(*source, *target)) {
    context_.Log("warning",
                 "the source has tablespaces that the target's server has not: everything goes to "
                 "the target's own");
    job.argv.push_back("--no-tablespaces");
  }
  job.argv.push_back(dump.string());
  RunTool(context_, tools, job, endpoint_, "making the new schema in the scratch database");
}

void Scratch::RunFiles() {
  db::SessionOptions options;
  options.settings = db::Settings::kUsers;
  const auto session = db::Connect(endpoint_, options);
  // What ALTER DATABASE … SET and ALTER ROLE … SET give every client of the target, search_path
  // above all; the narrower ones last.
  const auto target = db::Connect(request_.target);
  const db::Result settings = target->Query(R"(
    SELECT split_part(s, '=', 1), substr(s, strpos(s, '=') + 1)
    FROM pg_db_role_setting r CROSS JOIN unnest(r.setconfig) AS s
    WHERE r.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND r.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user))
    ORDER BY r.setrole <> 0, r.setdatabase <> 0)");
  for (const db::Row& row : settings.rows) {
    try {
      session->Query("SELECT pg_catalog.set_config($1, $2, false)", {row[0], row[1]});
    } catch (const Error& error) {  // a superuser has set it, or an extension that is not loaded
      context_.Log(
          "warn", "the files are applied without the setting " + row[0].text + ": " + error.what());
    }
  }
  for (const fs::path& file : request_.settings.sql_files) {
    context_.ThrowIfStopped();
    const std::string text = ReadFile(file);
    for (const db::ScriptStatement& statement :
         db::SplitScript(text, db::Engine::kPostgres, file.string())) {
      const std::string words = ServerWords(statement.sql);
      if (!words.empty()) {
        throw Error(ErrorKind::kUnsupported,
                    file.string() + ":" + std::to_string(statement.line) +
                        ": it acts on the whole server (its roles, databases, tablespaces or "
                        "settings) by " +
                        words +
                        ", not on a copy of the schema: run it by itself, and take it out of the "
                        "file");
      }
      try {
        db::Send(*session, statement);
      } catch (const Error& error) {
        throw Error(error.kind(),
                    file.string() + ":" + std::to_string(statement.line) +
                        ": the new schema could not be made: " + error.what() +
                        "\nProduction is untouched: the file was applied to a copy of its schema",
                    error.code());
      }
    }
  }
}

void Scratch::RefuseAccess(SetDecision& decision) const {
  table_swap::RefuseAccess(access_, decision);
}

std::vector<std::string> Scratch::AccessStatements() const {
  return table_swap::AccessStatements(access_, *db::Connect(endpoint_),
                                      *db::Connect(request_.target), request_.settings);
}

void Scratch::MoveSet(const SetDecision& decision) {
  const auto session = db::Connect(endpoint_);
  for (const std::string& schema : request_.settings.schemas) {
    session->Execute("CREATE SCHEMA " + db::QuoteIdentifier(NamesBeside(schema).shadow));
  }
  std::string batch;  // one implicit transaction
  std::size_t size = 0;
  for (const Movable& object : decision.moved) {
    batch += MoveSql(object, NamesBeside(object.schema).shadow);
    if (++size % kMovedTogether != 0) continue;
    session->Execute(batch);
    batch.clear();
  }
  if (!batch.empty()) session->Execute(batch);
}

std::string DumpShadowSchemas(const core::Context& context, const Scratch& scratch,
                              const ShadowRequest& request, const std::string& section,
                              const std::vector<std::string>& without) {
  const int major = db::Connect(request.target)->Server().major();
  const db::ClientTools tools = db::ClientTools::Find(major, "");
  const OwnedFolder folder("swap", "");
  const fs::path dump = folder.path() / "dump";
  const fs::path list = folder.path() / "list";
  const fs::path text = folder.path() / "text";
  db::ClientTools::Job job;
  job.argv = {"pg_dump",
              "--format=custom",
              "--schema-only",
              "--no-owner",
              "--no-privileges",
              "--no-publications",
              "--section=" + section,
              "--no-subscriptions",
              "--no-security-labels",
              "--compress=0",
              "--file=" + dump.string()};
  for (const std::string& schema : request.settings.schemas) {
    job.argv.push_back("--schema=" + ExactPattern(NamesBeside(schema).shadow));
  }
  job.files = {folder.path()};
  RunTool(context, tools, job, scratch.endpoint(), "reading the shadow's schema");
  job.argv = {"pg_restore", "--list", "--file=" + list.string(), dump.string()};
  RunTool(context, tools, job, scratch.endpoint(), "listing the shadow's schema");
  WriteFileWhole(list, FilterList(ReadFile(list), without));
  job.argv = {"pg_restore",
              "--no-owner",
              "--no-privileges",
              "--use-list=" + list.string(),
              "--file=" + text.string(),
              dump.string()};
  RunTool(context, tools, job, scratch.endpoint(), "writing the shadow's schema");
  return WithoutPsqlGuard(ReadFile(text));
}

}  // namespace understudy::table_swap
