// The reading side; evidence.cc is the writing one.
#include <fstream>

#include "engine/base/error.h"
#include "engine/base/file.h"
#include "harness/evidence/evidence.h"

namespace understudy::harness {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kFormat = "understudy-evidence/1";

// An event's own "kind" or "t_ms" travels as "its_kind" (see EvidenceWriter::AddAt).
Event ToEvent(const Json& line) {
  Event event;
  event.t_ms = line.value("t_ms", 0.0);
  event.kind = line.value("kind", "");
  event.data = Json::object();
  for (const auto& [key, value] : line.items()) {
    if (key == "t_ms" || key == "kind") continue;
    event.data[key == "its_kind" || key == "its_t_ms" ? key.substr(4) : key] = value;
  }
  return event;
}

std::unique_ptr<db::Session> OpenReadOnly(const fs::path& file) {
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return nullptr;
  db::SessionOptions options;
  options.read_only = true;
  return db::Connect(db::Endpoint::Sqlite(file), options);
}

}  // namespace

Evidence Evidence::Read(const fs::path& folder) {
  Evidence evidence;
  evidence.folder_ = folder;
  const fs::path file = folder / "evidence.jsonl";
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    throw Error(ErrorKind::kInvalidSpec,
                folder.string() +
                    " holds no evidence (evidence.jsonl is not there); give the "
                    "folder of a run, or of one of its scenarios");
  }
  std::ifstream in(file, std::ios::binary);
  std::string text;
  std::size_t number = 0;
  bool header = false;
  while (std::getline(in, text)) {
    ++number;
    // Every line is written in one piece with its end: one without it was cut off by a kill.
    const bool cut = in.eof();
    if (text.empty()) continue;
    Json line;
    try {
      line = ParseJson(text, file.string() + ":" + std::to_string(number));
      if (!line.is_object()) FailAt(file.string() + ":" + std::to_string(number), "", "no object");
    } catch (const Error&) {
      if (cut) break;
      throw;
    }
    if (!header) {
      const Json format = line.value("format", Json());
      if (format != std::string(kFormat)) {
        throw Error(ErrorKind::kInvalidSpec,
                    file.string() + ": its format is " +
                        (format.is_string() ? format.get<std::string>() : "not stated") +
                        "; this version judges " + std::string(kFormat));
      }
      header = true;
      continue;
    }
    evidence.events_.push_back(ToEvent(line));
  }
  if (!header) {
    throw Error(ErrorKind::kInvalidSpec, file.string() + ": empty, so it is no evidence");
  }
  const fs::path scenario = folder / "scenario.json";
  evidence.scenario_ = fs::exists(scenario, ignored) ? ParseJsonFile(scenario) : Json::object();
  return evidence;
}

std::vector<const Event*> Evidence::OfKind(std::string_view kind) const {
  std::vector<const Event*> found;
  for (const Event& event : events_) {
    if (event.kind == kind) found.push_back(&event);
  }
  return found;
}

bool Evidence::complete() const {
  const auto ends = OfKind("end");
  return !ends.empty() && ends.back()->data.value("status", "") == "complete";
}

std::unique_ptr<db::Session> Evidence::OpenLedger() const {
  return OpenReadOnly(folder_ / "ledger.sqlite");
}

std::optional<Json> Evidence::Snapshot(const std::string& name, const std::string& database) const {
  const auto session = OpenReadOnly(folder_ / "snapshots.sqlite");
  if (!session) return std::nullopt;
  const auto content =
      session->MaybeScalar("SELECT content FROM snapshots WHERE name = ?1 AND database = ?2",
                           {db::Value::Text(name), db::Value::Text(database)});
  if (!content || content->is_null()) return std::nullopt;
  return ParseJson(content->text, "snapshot " + name + ":" + database);
}

}  // namespace understudy::harness
