// What triggers write beside the row itself. Read from their text: coarse, and on the safe side. A
// table name that is put together at run time is missed here; probe.cc counts what really happens
// (PostgreSQL).
#include <algorithm>
#include <cctype>
#include <regex>

#include "engine/base/error.h"
#include "harness/actors/stage.h"

namespace understudy::harness {
namespace {

struct Trigger {
  std::size_t table;
  std::string operations;  // of i u d
  bool after = false;
  std::string body;
};

std::string Lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

// Comments say nothing about what is written.
std::string WithoutComments(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "--") == 0) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.compare(i, 2, "/*") == 0) {
      const auto end = text.find("*/", i);
      i = end == std::string::npos ? text.size() : end + 1;
      out += ' ';
      continue;
    }
    if (i < text.size()) out += text[i];
  }
  return out;
}

std::vector<Trigger> PostgresTriggers(const Stage& stage, db::Session& session) {
  std::vector<Trigger> triggers;
  // tgtype: 2 before, 64 instead of, 4 insert, 8 delete, 16 update.
  const db::Result rows = session.Query(
      "SELECT n.nspname, c.relname, t.tgtype, p.prosrc FROM pg_catalog.pg_trigger t"
      " JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid"
      " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
      " JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
      " WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND NOT c.relispartition");
  for (const db::Row& row : rows.rows) {
    const int table = stage.Find({row[0].text, row[1].text});
    if (table < 0) continue;
    const std::int64_t type = row[2].AsInteger();
    Trigger trigger{static_cast<std::size_t>(table), "", (type & 66) == 0, row[3].text};
    if ((type & 4) != 0) trigger.operations += 'i';
    if ((type & 16) != 0) trigger.operations += 'u';
    if ((type & 8) != 0) trigger.operations += 'd';
    triggers.push_back(std::move(trigger));
  }
  return triggers;
}

std::vector<Trigger> SqliteTriggers(const Stage& stage, db::Session& session) {
  std::vector<Trigger> triggers;
  const db::Result rows =
      session.Query("SELECT tbl_name, sql FROM main.sqlite_schema WHERE type = 'trigger'");
  for (const db::Row& row : rows.rows) {
    const int table = stage.Find({"main", row[0].text});
    if (table < 0) continue;
    const std::string sql = row[1].text;
    const auto begin = Lower(sql).find("begin");
    const std::string head = Lower(sql.substr(0, begin));
    Trigger trigger{static_cast<std::size_t>(table), "", true,
                    begin == std::string::npos ? "" : sql.substr(begin)};
    if (std::regex_search(head, std::regex("\\binsert\\s+on\\b"))) trigger.operations += 'i';
    if (std::regex_search(head, std::regex("\\bupdate\\b"))) trigger.operations += 'u';
    if (std::regex_search(head, std::regex("\\bdelete\\s+on\\b"))) trigger.operations += 'd';
    triggers.push_back(std::move(trigger));
  }
  return triggers;
}

// The tables that `body` writes to.
std::vector<std::pair<db::TableName, char>> Targets(const Stage& stage, const std::string& body) {
  static const std::regex kWrites(
      "\\b(insert\\s+(?:or\\s+\\w+\\s+)?into|replace\\s+into|update(?:\\s+or\\s+\\w+)?|"
      "delete\\s+from|merge\\s+into|truncate(?:\\s+table)?)\\s+(?:only\\s+)?"
      "((?:\"(?:[^\"]|\"\")*\"|[\\w$]+)(?:\\s*\\.\\s*(?:\"(?:[^\"]|\"\")*\"|[\\w$]+))?)",
      std::regex::icase);
  std::vector<std::pair<db::TableName, char>> targets;
  const std::string text = WithoutComments(body);
  for (auto it = std::sregex_iterator(text.begin(), text.end(), kWrites);
       it != std::sregex_iterator(); ++it) {
    const std::string verb = Lower((*it)[1].str());
    const char does = verb[0] == 'i' ? 'i' : verb[0] == 'd' || verb[0] == 't' ? 'd' : 'u';
    std::vector<std::string> parts;
    try {
      parts = db::ParseDottedName((*it)[2].str());
    } catch (const Error&) {
      continue;
    }
    for (const auto& plan : stage.plans) {  // without a schema: whichever has that name
      const db::TableName& name = plan->table.name;
      if (Lower(name.name) != Lower(parts.back())) continue;
      if (parts.size() > 1 && Lower(name.schema) != Lower(parts.front())) continue;
      targets.emplace_back(name, does);
      if (verb[0] == 'm' || verb[0] == 'r') targets.emplace_back(name, 'd');
    }
  }
  return targets;
}

// A hot row's counter must rise by the clients' updates alone, and its note say who was last: what
// a trigger of the table may set is replaced by a column that no trigger names.
void KeepCountersFromTriggers(Stage& stage, const std::vector<Trigger>& triggers) {
  for (const Trigger& trigger : triggers) {
    if (trigger.operations.find('u') == std::string::npos) continue;
    TablePlan& plan = *stage.plans[trigger.table];
    const std::string body = Lower(WithoutComments(trigger.body));
    const auto named = [&](std::size_t column) {
      const std::string name = Lower(plan.table.columns[column].name);
      for (auto at = body.find(name); at != std::string::npos; at = body.find(name, at + 1)) {
        const auto part_of_word = [&](std::size_t i) {
          return i < body.size() && (std::isalnum(static_cast<unsigned char>(body[i])) != 0 ||
                                     body[i] == '_' || static_cast<unsigned char>(body[i]) >= 0x80);
        };
        if ((at == 0 || !part_of_word(at - 1)) && !part_of_word(at + name.size())) return true;
      }
      return false;
    };
    const auto replace = [&](int& chosen, bool (*fits)(const SchemaColumn&), int other) {
      if (chosen < 0 || !named(static_cast<std::size_t>(chosen))) return;
      chosen = -1;
      for (const std::size_t i : plan.updatable) {
        const SchemaColumn& column = plan.table.columns[i];
        const bool checked = std::ranges::any_of(plan.table.checks, [&](const SchemaCheck& check) {
          return std::ranges::find(check.columns, column.name) != check.columns.end();
        });
        if (!checked && fits(column) && !named(i) && static_cast<int>(i) != other) {
          chosen = static_cast<int>(i);
          return;
        }
      }
    };
    replace(plan.counter, IsInteger, plan.note);
    replace(plan.note, IsText, plan.counter);
  }
}

}  // namespace

std::vector<SideEffect> ReadTriggers(Stage& stage, db::Session& session) {
  const std::vector<Trigger> triggers = stage.engine == db::Engine::kPostgres
                                            ? PostgresTriggers(stage, session)
                                            : SqliteTriggers(stage, session);
  KeepCountersFromTriggers(stage, triggers);
  std::vector<SideEffect> effects;
  const auto add = [&](const SideEffect& effect) {
    const bool known = std::any_of(effects.begin(), effects.end(), [&](const SideEffect& e) {
      return e.table == effect.table && e.operation == effect.operation &&
             e.target == effect.target && e.does == effect.does;
    });
    if (!known) effects.push_back(effect);
    return !known;
  };
  for (const Trigger& trigger : triggers) {
    for (const auto& [target, does] : Targets(stage, trigger.body)) {
      for (const char operation : trigger.operations) {
        add({trigger.table, operation, target, does});
      }
    }
  }
  for (bool grown = true; grown;) {  // what the triggers of the reached tables reach
    grown = false;
    const std::vector<SideEffect> known = effects;
    for (const SideEffect& first : known) {
      for (const SideEffect& second : known) {
        if (stage.plans[second.table]->table.name != first.target) continue;
        if (second.operation != first.does) continue;
        grown |= add({first.table, first.operation, second.target, second.does});
      }
    }
  }
  return effects;
}

void AvoidSideEffects(Stage& stage, const std::vector<SideEffect>& effects) {
  for (const SideEffect& effect : effects) {
    TablePlan& plan = *stage.plans[effect.table];
    if (effect.target == plan.table.name && effect.does == 'u') {
      plan.reread = true;  // the row itself, as far as one can tell
      continue;
    }
    if (effect.does == 'i') {
      stage.written_by_triggers.insert(effect.target.Display());
      continue;
    }
    const std::string why =
        "its triggers change rows of " + effect.target.Display() + ", which no ledger could follow";
    if (effect.operation == 'i' && plan.can_insert) {
      plan.can_insert = plan.can_insert_short = plan.can_upsert = false;
      plan.why_not.push_back("inserts: " + why);
    }
    if (effect.operation == 'u' && !plan.updatable.empty()) {
      plan.updatable.clear();
      plan.can_upsert = false;
      plan.why_not.push_back("updates: " + why);
    }
    if (effect.operation == 'd' && plan.can_delete) {
      plan.can_delete = false;
      plan.why_not.push_back("deletes: " + why);
    }
  }
}

}  // namespace understudy::harness
