#include "reports/report.h"

namespace understudy::reports {
namespace {

class JsonForm final : public Writer {
 public:
  void Write(const Report& report, std::ostream& out) const override {
    const std::string text = ToText(report.ToJson());
    ValidateReport(Json::parse(text));  // what a reader will see, after UTF-8 was made valid
    out << text;
  }
};

}  // namespace

std::unique_ptr<Writer> JsonWriter() { return std::make_unique<JsonForm>(); }

}  // namespace understudy::reports
