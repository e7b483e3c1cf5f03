// SQLite worlds: a fresh file per scenario, copied from the cache where its content is known.
#include <algorithm>
#include <atomic>

#include "engine/base/clock.h"
#include "engine/base/error.h"
#include "engine/base/file.h"
#include "engine/base/owner.h"
#include "engine/db/session.h"
#include "engine/db/sqlite_copy.h"
#include "harness/world/provision.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kKeptFiles = 24;

// An empty file is a database once it has been written.
void MakeEmpty(const fs::path& file) {
  db::SessionOptions create;
  create.create = true;
  db::Connect(db::Endpoint::Sqlite(file), create)->Execute("PRAGMA user_version = 0");
}

class SqliteLease final : public Lease {
 public:
  SqliteLease(std::shared_ptr<OwnedFolder> folder, const fs::path& file)
      : folder_(std::move(folder)),
        endpoint_(db::Endpoint::Sqlite(file)),
        version_(db::Connect(db::Endpoint::Sqlite(":memory:"), {.create = true})
                     ->Server()
                     .version_text) {}
  ~SqliteLease() override {
    std::error_code ignored;
    if (kept_) return;
    for (const char* suffix : {"", "-journal", "-wal", "-shm"}) {
      fs::remove(endpoint_.file().string() + suffix, ignored);
    }
  }

  const db::Endpoint& endpoint() const override { return endpoint_; }
  std::string provision() const override { return "sqlite"; }
  std::string version() const override { return version_; }
  std::string HowToConnect() const override { return "sqlite3 " + endpoint_.file().string(); }
  void Keep() override {
    kept_ = true;
    folder_->Keep();
  }
  std::unique_ptr<Lease> Clone(const std::string& label) override {
    static std::atomic<int> count = 0;
    std::string name;
    for (const char c : label) {
      name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
    }
    const fs::path file =
        folder_->path() / (name.substr(0, 60) + "-" + std::to_string(++count) + ".db");
    std::error_code ignored;
    if (fs::exists(endpoint_.file(), ignored)) {
      db::CopySqliteFile(endpoint_.file(), file);
    } else {  // not made yet, or gone again: an empty database has the same in it
      MakeEmpty(file);
    }
    return std::make_unique<SqliteLease>(folder_, file);
  }

 private:
  std::shared_ptr<OwnedFolder> folder_;  // shared: clones lie in it too
  db::Endpoint endpoint_;
  std::string version_;
  bool kept_ = false;
};

// The pragmas that a file keeps; anything else holds for one connection only, and connections
// are the clients' own.
void ApplySettings(db::Session& session, const Json& settings, bool fresh) {
  for (const auto& [name, value] : settings.items()) {
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    const bool at_birth = name == "page_size" || name == "auto_vacuum" || name == "encoding";
    const bool word = !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-';
    });
    if (!word || (!at_birth && name != "journal_mode")) {
      throw Error(ErrorKind::kInvalidSpec,
                  "settings/" + name +
                      ": an SQLite file keeps only journal_mode, page_size, "
                      "auto_vacuum and encoding; every client sets the others for itself");
    }
    if (at_birth && !fresh) {
      throw Error(ErrorKind::kInvalidSpec,
                  "settings/" + name + " can only be chosen for a file that is not a copy");
    }
    const db::Result now = session.Query("PRAGMA " + name + " = '" + text + "'");
    std::string wanted = text;
    for (char& c : wanted) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (name == "journal_mode" && (now.rows.empty() || now.rows[0][0].text != wanted)) {
      throw Error(ErrorKind::kInvalidSpec, "settings/journal_mode: SQLite does not take '" + text +
                                               "'; allowed: wal, delete, truncate, persist");
    }
  }
}

void MakeFile(const DatabaseSpec& spec, const fs::path& file, const ProvisionOptions& options) {
  if (spec.from) {
    // A file, an endpoint, or a script of SQL, which Fill() runs.
    const bool is_script = fs::path(*spec.from).extension() == ".sql";
    if (!is_script) {
      const fs::path source = db::Endpoint::LooksLikeOne(*spec.from)
                                  ? db::Endpoint::Parse(*spec.from).file()
                                  : fs::path(*spec.from);
      if (source.empty()) {
        throw Error(ErrorKind::kInvalidSpec,
                    "from: an SQLite database is copied from an SQLite file or a .sql script, not "
                    "from PostgreSQL");
      }
      Tell(options, "copying " + source.string());
      db::CopySqliteFile(source, file, options.stop);
    }
  }
  db::SessionOptions create;
  create.create = true;
  std::error_code ignored;
  const bool fresh = !fs::exists(file, ignored);
  {
    const auto session = db::Connect(db::Endpoint::Sqlite(file), create);
    ApplySettings(*session, spec.settings, fresh);
    if (fresh) session->Execute("PRAGMA user_version = 0");  // an empty file is a database now
  }
  Fill(spec, db::Endpoint::Sqlite(file), options);
}

void RemoveOldest(const fs::path& folder) {
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    files.emplace_back(entry.last_write_time(ignored), entry.path());
  }
  std::sort(files.rbegin(), files.rend());
  for (std::size_t i = kKeptFiles; i < files.size(); ++i) fs::remove(files[i].second, ignored);
}

}  // namespace

std::unique_ptr<Lease> ProvisionSqlite(const DatabaseSpec& spec, const ProvisionOptions& options) {
  if (spec.version || spec.image || !spec.extensions.empty()) {
    throw Error(ErrorKind::kInvalidSpec,
                "version, image and extensions are PostgreSQL's; an SQLite database has none");
  }
  const auto folder = std::make_shared<OwnedFolder>("sqlite", options.run_id);
  const fs::path file = folder->path() / (spec.name + ".db");
  if (spec.made_by_migration) {
    if (!spec.settings.empty()) {
      throw Error(ErrorKind::kInvalidSpec,
                  "settings: the hot copy makes this database; it follows its source");
    }
    return std::make_unique<SqliteLease>(folder, file);  // a place, and nothing there
  }
  const std::string key = IsEmpty(spec) ? "" : ContentKey(spec, spec.settings.dump());
  if (key.empty()) {
    MakeFile(spec, file, options);
    return std::make_unique<SqliteLease>(folder, file);
  }
  const fs::path cache = CacheFolder() / "sqlite";
  const fs::path kept = cache / (key + ".db");
  std::error_code failed;
  // A finished file in the cache has no journal beside it: a plain copy is a whole one.
  if (fs::copy_file(kept, file, failed)) {
    fs::last_write_time(kept, fs::file_time_type::clock::now(), failed);
    return std::make_unique<SqliteLease>(folder, file);
  }
  MakeFile(spec, file, options);
  fs::create_directories(cache, failed);
  const fs::path partial = kept.string() + "." + folder->path().filename().string() + ".partial";
  try {
    db::CopySqliteFile(file, partial, options.stop);
    fs::rename(partial, kept);
    RemoveOldest(cache);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kCancelled) throw;
  } catch (const fs::filesystem_error&) {  // a cache that cannot be kept costs time, nothing else
  }
  return std::make_unique<SqliteLease>(folder, file);
}

}  // namespace understudy::harness
