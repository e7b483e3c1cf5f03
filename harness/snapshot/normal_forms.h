#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

// The forms in which properties are kept, so that two catalogs that mean the same read the same.
// All of them are in normal_forms.cc, each with a name and a reason.
namespace understudy::harness {

// What the engine's catalog says of `property` of an object of `kind`, in its normal form. ""
// stands for "nothing to say": the property is left out. What SQLite says has the kinds
// "sqlite-column" and "sqlite" (any other object's definition) here.
std::string NormalForm(std::string_view kind, std::string_view property, std::string_view raw);

// The name of the form that NormalForm takes, "" when the text is kept as it is.
std::string_view NormalFormName(std::string_view kind, std::string_view property);

// The other way round, for severities: "alice: SELECT, INSERT; public: SELECT" by grantee.
std::map<std::string, std::set<std::string>> ParseGrants(std::string_view grants);

}  // namespace understudy::harness
