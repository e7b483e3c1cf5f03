#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "engine/db/endpoint.h"
#include "harness/evidence/evidence.h"

// What a database's server says of itself while a migration runs: locks, who waits for whom,
// activity, WAL, size.
namespace understudy::harness {

struct ObserverOptions {
  std::string database;  // its name in the scenario
  db::Endpoint endpoint;
  std::chrono::milliseconds period{20};
  // Whether a server process is the engine's, from its pid and application_name. Default: the name
  // starts with "understudy-engine". For `command`, whose program names itself as it likes:
  // `[](int, const std::string& name) { return !name.starts_with("understudy"); }`.
  std::function<bool(int pid, const std::string& application)> is_engine;
};

// Reads by sessions of its own (application_name "understudy-observer") and appends events of the
// kinds locks, activity, size and, at its end, observer (harness/evidence/README.md).
//
// Each `locks` event is the whole picture at its moment: the relation locks of the engine and of
// programs that are not ours, and those of clients that block or wait. A picture equal to the one
// before is left out unless somebody waits; so a lock that stands in one event was held, as far as
// the period tells, until the first later event without it.
//
// A server that is away is no error of a rehearsal: the observer counts it and connects again.
// `evidence` must outlive the observer. Start, Stop: one thread; AtPoint: any.
class Observer {
 public:
  Observer(ObserverOptions options, EvidenceWriter& evidence);
  ~Observer();  // stops

  // Begins to sample. A server that is not there yet is waited for.
  void Start();
  // Reads the locks now, while the caller keeps the engine waiting at `point`, and appends them
  // with seen = "point". Never throws: what could not be read is counted.
  void AtPoint(std::string_view point);
  // Ends the samples and appends the event `observer`. Does nothing the second time.
  void Stop();

 private:
  class Work;
  std::unique_ptr<Work> work_;
};

}  // namespace understudy::harness
