#include "harness/checks/findings.h"

#include <fmt/format.h>

namespace understudy::harness {
namespace {

constexpr std::size_t kMostLines = 200;  // of each sort, in one verdict
constexpr std::size_t kMostExamples = 20;

void Keep(std::vector<std::string>& lines, std::string line) {
  if (lines.size() < kMostLines) lines.push_back(std::move(line));
  if (lines.size() == kMostLines) lines.push_back("… and more");
}

}  // namespace

void Findings::Fail(std::string line, Json example) {
  if (failures_.size() < kMostLines) {
    failures_.push_back(std::move(line));
  } else {
    ++more_failures_;
  }
  Example(std::move(example));
}

void Findings::Example(Json example) {
  if (example.is_object() && examples_.size() < kMostExamples) {
    examples_.push_back(std::move(example));
  }
}

void Findings::Unknown(std::string line) { Keep(unknowns_, std::move(line)); }

void Findings::Note(std::string line) { Keep(notes_, std::move(line)); }

void Findings::Judged(std::int64_t count) { judged_ += count; }

reports::Verdict Findings::Done(std::string_view id, std::string passed,
                                std::string nothing) const {
  reports::Verdict verdict;
  verdict.id = id;
  const auto first = [](const std::vector<std::string>& lines, std::int64_t more) {
    const auto rest = static_cast<std::int64_t>(lines.size()) - 1 + more;
    return rest > 0 ? fmt::format("{} (and {} more)", lines[0], rest) : lines[0];
  };
  if (!failures_.empty()) {
    verdict.outcome = reports::Outcome::kFail;
    verdict.summary = first(failures_, more_failures_);
  } else if (!unknowns_.empty()) {
    verdict.outcome = reports::Outcome::kUnknown;
    verdict.summary = first(unknowns_, 0);
  } else if (judged_ == 0) {
    verdict.outcome = reports::Outcome::kUnknown;
    verdict.summary = std::move(nothing);
  } else {
    verdict.outcome = reports::Outcome::kPass;
    verdict.summary = std::move(passed);
  }
  // The summary says a single finding already.
  if (failures_.size() > 1) verdict.details = failures_;
  if (more_failures_ > 0) verdict.details.push_back(fmt::format("… and {} more", more_failures_));
  if (unknowns_.size() > 1 || !failures_.empty()) {
    for (const std::string& line : unknowns_) verdict.details.push_back("not known: " + line);
  }
  verdict.details.insert(verdict.details.end(), notes_.begin(), notes_.end());
  verdict.examples = examples_;
  return verdict;
}

}  // namespace understudy::harness
