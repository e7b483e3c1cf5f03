#include "engine/base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <mutex>

#include "engine/base/redact.h"

namespace understudy::log {
namespace {
struct Loggers {
  std::mutex mutex;
  std::shared_ptr<spdlog::logger> terminal;
  std::shared_ptr<spdlog::logger> file;

  Loggers() {
    terminal = std::make_shared<spdlog::logger>("understudy",
                                                std::make_shared<spdlog::sinks::stderr_sink_mt>());
    terminal->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
    terminal->set_level(spdlog::level::warn);
  }
};

Loggers& All() {
  static Loggers loggers;
  return loggers;
}

void Write(spdlog::level::level_enum level, std::string_view message) {
  const std::string safe = Redact(message);
  Loggers& all = All();
  const std::lock_guard lock(all.mutex);
  all.terminal->log(level, "{}", safe);
  if (all.file) all.file->log(level, "{}", safe);
}
}  // namespace

void SetVerbose(bool verbose) {
  All().terminal->set_level(verbose ? spdlog::level::debug : spdlog::level::warn);
}

void SetFile(const std::filesystem::path& path) {
  Loggers& all = All();
  const std::lock_guard lock(all.mutex);
  all.file.reset();
  if (path.empty()) return;
  all.file = std::make_shared<spdlog::logger>(
      "file", std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string(), true));
  all.file->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v", spdlog::pattern_time_type::utc);
  all.file->set_level(spdlog::level::debug);
  all.file->flush_on(spdlog::level::debug);
}

void Debug(std::string_view message) { Write(spdlog::level::debug, message); }
void Info(std::string_view message) { Write(spdlog::level::info, message); }
void Warn(std::string_view message) { Write(spdlog::level::warn, message); }

}  // namespace understudy::log
