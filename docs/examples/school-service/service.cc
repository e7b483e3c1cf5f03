// A small service on the school's database, written on generated code and understudy/db.h. It knows
// nothing of how a migration works; it knows that a write may be refused for a moment.
//
//   understudy codegen ../../../fixtures/school/old.sql -o db.h
//   c++ -std=c++20 -I../../../engine/client -I. service.cc -lsqlite3 -o service
//   ./service school-0123456789abcdef.sqlite 1000
//
// Enrols students one by one and prints `enrolled ID NAME` once each is safe in the file. When the
// file is drained it prints `draining` and ends with 75 (try again): whoever supervises it starts
// the service that was built for the new schema, on the new file.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "db.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: %s FILE STUDENTS\n", argv[0]);
    return 64;
  }
  try {
    understudy::Database database(argv[1]);
    const long wanted = std::atol(argv[2]);
    for (long n = 0; n < wanted; ++n) {
      const std::string name = "student " + std::to_string(::getpid()) + "-" + std::to_string(n);
      const std::int64_t id = understudy::TaskTxn(database, [&](understudy::Txn& txn) {
        const std::int64_t enrolled = db::InsertStudent(txn, {.name = name});
        txn.Write("INSERT INTO journal (at, what) VALUES (datetime('now'), ?)", "enrolled " + name);
        return enrolled;
      });
      std::printf("enrolled %lld %s\n", static_cast<long long>(id), name.c_str());
      std::fflush(stdout);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  } catch (const understudy::Draining&) {
    std::printf("draining\n");
    return 75;
  } catch (const understudy::DbError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return error.retryable() ? 75 : 1;
  }
  return 0;
}
