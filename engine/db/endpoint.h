#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

namespace understudy::db {

enum class Engine { kPostgres, kSqlite };
std::string_view EngineName(Engine engine);  // "postgres", "sqlite"

// Where one database is: a PostgreSQL conninfo or URI, or an SQLite file.
class Endpoint {
 public:
  // `text`: postgres://…, postgresql://…, a conninfo ("host=… dbname=…"), sqlite:PATH, a path that
  // ends in .db, .sqlite, .sqlite3, or env:NAME. A relative path is relative to `folder`.
  // Error(kInvalidSpec) when it is none of these. Passwords in it are remembered as secrets.
  static Endpoint Parse(std::string_view text, const std::filesystem::path& folder = {});
  // Whether Parse would take it (env: always).
  static bool LooksLikeOne(std::string_view text);

  static Endpoint Sqlite(std::filesystem::path file);
  // `settings`: libpq keywords (host, port, user, password, dbname, …).
  static Endpoint Postgres(std::map<std::string, std::string> settings);

  Engine engine() const { return engine_; }
  const std::filesystem::path& file() const { return file_; }  // SQLite only
  // libpq keywords and values; PostgreSQL only. What is absent comes from PG* variables.
  const std::map<std::string, std::string>& settings() const { return settings_; }
  std::string Setting(const std::string& keyword) const;  // "" when absent
  // The same server, another database.
  Endpoint WithDatabase(const std::string& name) const;
  Endpoint WithSetting(const std::string& keyword, const std::string& value) const;

  std::string Conninfo() const;  // for libpq; holds the password
  std::string Uri() const;       // postgresql://… or sqlite:PATH; holds the password
  std::string Redacted() const;  // Uri() without it: for people
  // PGHOST, PGPORT, … for the client tools, so that no password stands on a command line.
  std::map<std::string, std::string> Environment() const;

 private:
  Engine engine_ = Engine::kPostgres;
  std::filesystem::path file_;
  std::map<std::string, std::string> settings_;
};

}  // namespace understudy::db
