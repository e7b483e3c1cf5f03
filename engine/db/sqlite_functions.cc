#include "engine/db/sqlite_functions.h"

#include <sqlite3.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wpedantic"
#include <xxhash.h>
#pragma GCC diagnostic pop

#include "engine/base/error.h"

namespace understudy::db::internal {
namespace {

// The exact bytes of one value: a letter for its storage class, then what it holds.
void Append(std::string& bytes, sqlite3_value* value) {
  const auto append = [&](char letter, const void* data, std::size_t size) {
    const std::uint64_t length = size;
    bytes += letter;
    bytes.append(reinterpret_cast<const char*>(&length), sizeof length);
    if (size > 0) bytes.append(static_cast<const char*>(data), size);
  };
  switch (sqlite3_value_type(value)) {
    case SQLITE_NULL:
      append('n', nullptr, 0);
      return;
    case SQLITE_INTEGER: {
      const sqlite3_int64 number = sqlite3_value_int64(value);
      append('i', &number, sizeof number);
      return;
    }
    case SQLITE_FLOAT: {
      const double number = sqlite3_value_double(value);
      append('r', &number, sizeof number);
      return;
    }
    case SQLITE_TEXT: {
      const void* text = sqlite3_value_text(value);  // before bytes(): it may convert to UTF-8
      append('t', text, static_cast<std::size_t>(sqlite3_value_bytes(value)));
      return;
    }
    default: {
      const void* blob = sqlite3_value_blob(value);
      append('b', blob, static_cast<std::size_t>(sqlite3_value_bytes(value)));
    }
  }
}

std::string& Buffer() {
  thread_local std::string buffer;
  if (buffer.capacity() > (1U << 20U)) std::string().swap(buffer);  // after a wide row
  buffer.clear();
  return buffer;
}

void Hash(sqlite3_context* context, int count, sqlite3_value** values) {
  std::string& bytes = Buffer();
  for (int i = 1; i < count; ++i) Append(bytes, values[i]);
  const auto seed = static_cast<std::uint64_t>(sqlite3_value_int64(values[0]));
  const std::uint64_t hash = XXH64(bytes.data(), bytes.size(), seed);
  sqlite3_result_int64(context, static_cast<sqlite3_int64>(hash));
}

// FNV-1a with a final mix (SplitMix64's): shares nothing with XXH64.
void Hash2(sqlite3_context* context, int count, sqlite3_value** values) {
  std::string& bytes = Buffer();
  for (int i = 1; i < count; ++i) Append(bytes, values[i]);
  std::uint64_t hash =
      0xcbf29ce484222325ULL ^ static_cast<std::uint64_t>(sqlite3_value_int64(values[0]));
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  hash = (hash ^ (hash >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27U)) * 0x94d049bb133111ebULL;
  sqlite3_result_int64(context, static_cast<sqlite3_int64>(hash ^ (hash >> 31U)));
}

void SumStep(sqlite3_context* context, int /*count*/, sqlite3_value** values) {
  auto* sum = static_cast<std::uint64_t*>(sqlite3_aggregate_context(context, sizeof(uint64_t)));
  if (sum == nullptr) return sqlite3_result_error_nomem(context);
  *sum += static_cast<std::uint64_t>(sqlite3_value_int64(values[0]));
}

void SumFinal(sqlite3_context* context) {
  const auto* sum = static_cast<std::uint64_t*>(sqlite3_aggregate_context(context, 0));
  sqlite3_result_int64(context, sum == nullptr ? 0 : static_cast<sqlite3_int64>(*sum));
}

void Row(sqlite3_context* context, int count, sqlite3_value** values) {
  std::string& bytes = Buffer();
  for (int i = 0; i < count; ++i) {
    const int type = sqlite3_value_type(values[i]);
    if (type == SQLITE_INTEGER) {  // big-endian above the lowest: sorts as the number
      const std::uint64_t number =
          static_cast<std::uint64_t>(sqlite3_value_int64(values[i])) ^ (1ULL << 63U);
      bytes += 'i';
      for (int shift = 56; shift >= 0; shift -= 8) {
        bytes += static_cast<char>((number >> static_cast<unsigned>(shift)) & 0xffU);
      }
    } else if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
      const bool text = type == SQLITE_TEXT;
      const auto* data =
          static_cast<const char*>(text ? static_cast<const void*>(sqlite3_value_text(values[i]))
                                        : sqlite3_value_blob(values[i]));
      const auto size = static_cast<std::size_t>(sqlite3_value_bytes(values[i]));
      bytes += text ? 't' : 'x';
      for (std::size_t at = 0; at < size; ++at) {  // 00 becomes 00 ff; 00 00 ends it
        bytes += data[at];
        if (data[at] == '\0') bytes += '\xff';
      }
      bytes.append(2, '\0');
    } else {
      Append(bytes, values[i]);  // of fixed length
    }
  }
  sqlite3_result_blob64(context, bytes.data(), bytes.size(), SQLITE_TRANSIENT);
}

// understudy_key('integer:31,text:6162', 1) → 'ab': one part of a key as capture writes it.
void Key(sqlite3_context* context, int /*count*/, sqlite3_value** values) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_value_text(values[0]));
  if (text == nullptr) return sqlite3_result_null(context);
  std::string_view rest(text, static_cast<std::size_t>(sqlite3_value_bytes(values[0])));
  for (int skip = sqlite3_value_int(values[1]); skip > 0; --skip) {
    const auto comma = rest.find(',');
    if (comma == std::string_view::npos) return sqlite3_result_null(context);
    rest.remove_prefix(comma + 1);
  }
  rest = rest.substr(0, rest.find(','));
  const auto colon = rest.find(':');
  if (colon == std::string_view::npos) return sqlite3_result_null(context);
  const std::string_view storage = rest.substr(0, colon);
  rest.remove_prefix(colon + 1);
  std::string& bytes = Buffer();
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  for (std::size_t i = 0; i + 1 < rest.size(); i += 2) {
    bytes += static_cast<char>(digit(rest[i]) * 16 + digit(rest[i + 1]));
  }
  const int size = static_cast<int>(bytes.size());
  if (storage == "integer") {
    sqlite3_result_int64(context, std::strtoll(bytes.c_str(), nullptr, 10));
  } else if (storage == "real") {
    sqlite3_result_double(context, std::strtod(bytes.c_str(), nullptr));  // knows Inf, too
  } else if (storage == "text") {
    sqlite3_result_text(context, bytes.data(), size, SQLITE_TRANSIENT);
  } else if (storage == "blob") {
    sqlite3_result_blob(context, bytes.data(), size, SQLITE_TRANSIENT);
  } else {
    sqlite3_result_null(context);
  }
}

}  // namespace

void RegisterSqliteFunctions(sqlite3* database) {
  constexpr int kFlags = SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_DIRECTONLY;
  const auto check = [&](int code) {
    if (code != SQLITE_OK) {
      throw Error(ErrorKind::kInternal,
                  std::string("cannot add a function to SQLite: ") + sqlite3_errmsg(database));
    }
  };
  const auto scalar = [&](const char* name, auto function) {
    check(sqlite3_create_function_v2(database, name, -1, kFlags, nullptr, function, nullptr,
                                     nullptr, nullptr));
  };
  scalar("understudy_hash", &Hash);
  scalar("understudy_hash2", &Hash2);
  scalar("understudy_row", &Row);
  check(sqlite3_create_function_v2(database, "understudy_key", 2, kFlags, nullptr, &Key, nullptr,
                                   nullptr, nullptr));
  check(sqlite3_create_function_v2(database, "understudy_sum", 1, kFlags, nullptr, nullptr,
                                   &SumStep, &SumFinal, nullptr));
}

}  // namespace understudy::db::internal
