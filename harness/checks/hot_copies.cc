#include "harness/checks/hot_copies.h"

#include <algorithm>
#include <cstdlib>

#include "engine/db/identifier.h"

namespace understudy::harness {
namespace {

// What a refused writer is told; applications rely on it.
constexpr std::string_view kDraining = "understudy: draining, retry";

bool SameName(std::string_view a, std::string_view b) {
  return std::ranges::equal(
      a, b, [](unsigned char x, unsigned char y) { return std::tolower(x) == std::tolower(y); });
}

}  // namespace

HotCopies::HotCopies(const Evidence& evidence) : evidence_(evidence) {
  const auto one = [&](const std::string& name, const Json& document) {
    if (!document.is_object() || TextAt(document, "strategy") != "hot-copy") return;
    HotCopy copy;
    copy.name = name;
    copy.source = TextAt(document, "source");
    copy.target = TextAt(document, "target");
    copy.schema = TextAt(document, "schema");
    if (document.contains("columns") && document["columns"].is_object()) {
      copy.columns = document["columns"];
    }
    copies_.push_back(std::move(copy));
  };
  const Json& scenario = evidence_.scenario();
  if (scenario.contains("migration")) {
    const Json& document = scenario["migration"];
    const std::string id = document.is_object() ? TextAt(document, "id") : "";
    one(id.empty() ? "migration" : id, document);
  }
  if (scenario.contains("migrations") && scenario["migrations"].is_object()) {
    for (const auto& [name, document] : scenario["migrations"].items()) one(name, document);
  }
  if (!copies_.empty()) ReadTimes();
}

void HotCopies::ReadTimes() {
  const double end = HotCopy::kNever;  // until a reset
  for (const Event& event : evidence_.events()) {
    if (event.kind != "point" && event.kind != "phase") continue;
    const std::string name = TextAt(event.data, "migration");
    const auto copy =
        std::ranges::find_if(copies_, [&](const HotCopy& one) { return one.name == name; });
    if (copy == copies_.end()) continue;
    const std::string phase = TextAt(event.data, "phase");
    if (event.kind == "point") {
      if (TextAt(event.data, "point") == "cutover.after_commit") {
        copy->ready_ms = std::min(copy->ready_ms, event.t_ms);
      }
      continue;
    }
    const bool begins = TextAt(event.data, "status") == "begin";
    const bool refusing = !copy->refusing.empty() && copy->refusing.back().end_ms >= end;
    if (begins && phase == "drain" && !refusing) copy->refusing.push_back({event.t_ms, end});
    if (begins || TextAt(event.data, "outcome") != "done") continue;
    // The engine may have died between the commit and the point behind it.
    if (phase == "cutover" || phase == "verify") {
      copy->ready_ms = std::min(copy->ready_ms, event.t_ms);
    }
    if (phase == "reset" && refusing) copy->refusing.back().end_ms = event.t_ms;
  }
}

const HotCopy* HotCopies::OfSource(const std::string& database) const {
  const auto it = std::ranges::find(copies_, database, &HotCopy::source);
  return it == copies_.end() ? nullptr : &*it;
}

const HotCopy* HotCopies::OfTarget(const std::string& database) const {
  const auto it = std::ranges::find(copies_, database, &HotCopy::target);
  return it == copies_.end() ? nullptr : &*it;
}

std::optional<Snapshot> HotCopies::ExpectedCatalog(const HotCopy& copy,
                                                   const std::string& after) const {
  const auto content = evidence_.Snapshot(kExpected, copy.target);
  const auto old = evidence_.Snapshot(after, copy.source);
  if (!content || !old) return std::nullopt;
  Snapshot expected = Snapshot::FromJson(*content);
  const Snapshot source = Snapshot::FromJson(*old);
  std::map<std::string, std::string> marks;  // the path of an old sequence → its last value
  for (const CatalogObject& object : source.objects) {
    const auto last = object.properties.find("last_value");
    if (object.kind == "sequence" && last != object.properties.end()) {
      marks[object.path] = last->second;
    }
  }
  // The runner says which old table each new one is made from.
  std::map<std::string, std::string> from;
  for (const Event* event : EventsWith(evidence_, "hot-copy", "database", copy.target)) {
    const Json tables = event->data.value("tables", Json::object());
    for (const auto& [to, was] : tables.items()) {
      from[to] = was.get<std::string>();
    }
  }
  for (CatalogObject& object : expected.objects) {
    if (object.kind == "database") {
      for (const CatalogObject& theirs : source.objects) {
        if (theirs.kind != "database") continue;
        for (const char* pragma : {"user_version", "application_id"}) {
          const auto value = theirs.properties.find(pragma);
          std::string& ours = object.properties[pragma];
          if (value != theirs.properties.end() && (ours.empty() || ours == "0")) {
            ours = value->second;
          }
        }
      }
    }
    if (object.kind != "sequence") continue;
    const auto was = from.find(object.path.substr(object.path.find(':') + 1));
    if (was == from.end()) continue;
    for (const auto& [path, last] : marks) {
      if (!SameName(path, "sequence:" + was->second)) continue;
      std::string& ours = object.properties["last_value"];
      if (std::strtoll(last.c_str(), nullptr, 10) > std::strtoll(ours.c_str(), nullptr, 10)) {
        ours = last;
      }
    }
  }
  return expected;
}

bool HotCopies::IsDrained(const std::string& database, const Span& span,
                          const std::string& message) const {
  if (message.find(kDraining) == std::string::npos) return false;
  const HotCopy* copy = OfSource(database);
  if (copy == nullptr) return false;
  return std::ranges::any_of(copy->refusing, [&](const Span& refusing) {
    return span.end_ms >= refusing.begin_ms && span.begin_ms <= refusing.end_ms;
  });
}

}  // namespace understudy::harness
