#pragma once

#include <memory>

#include "harness/actors/client.h"
#include "harness/actors/stage.h"

namespace understudy::harness {

// A client that reads: rows by their key, the first rows in key order, counts of small ranges. It
// names its columns, as an application does: one that is dropped shows.
class Reader : public Client {
 public:
  using Refresh = std::function<std::shared_ptr<const Stage>(const std::shared_ptr<const Stage>&)>;
  Reader(ClientSetup setup, std::shared_ptr<const Stage> stage, Refresh refresh)
      : Client(std::move(setup)), stage_(std::move(stage)), refresh_(std::move(refresh)) {}

 protected:
  void Operate(Random& random) override;

 private:
  std::shared_ptr<const Stage> stage_;
  Refresh refresh_;  // empty: catalog "fixed"
};

// A client that sends the user's own statements, one after the other.
class SqlClient : public Client {
 public:
  SqlClient(ClientSetup setup, std::vector<std::string> statements)
      : Client(std::move(setup)), statements_(std::move(statements)) {}

 protected:
  void Operate(Random& random) override;

 private:
  std::vector<std::string> statements_;
};

// Whether the answer says that a table or a column is not what the statement thought.
bool CatalogChanged(const Error& error);

}  // namespace understudy::harness
