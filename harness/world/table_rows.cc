#include "harness/world/table_rows.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "engine/base/error.h"

namespace understudy::harness::internal {
namespace {

constexpr double kNullShare = 0.1;  // of a nullable column that nobody described
__extension__ using Wide = unsigned __int128;

// Every cell has a generator of its own. Another odd step than SplitMix64's, so that neighbouring
// rows do not share numbers.
Random CellRandom(std::uint64_t seed, std::int64_t row) {
  return Random(seed + static_cast<std::uint64_t>(row) * 0xD1342543DE82EF95ULL);
}

std::uint64_t SeedOf(std::uint64_t seed, const db::TableName& table, std::string_view what) {
  Random random = Random(seed).Fork(table.Display()).Fork(what);
  return random.Next();
}

// Near the golden section of `modulus` and without a common divisor: i * m mod modulus visits
// every number once and looks scattered.
std::uint64_t Scattering(std::uint64_t modulus) {
  if (modulus < 3) return 1;
  auto multiplier = static_cast<std::uint64_t>(static_cast<double>(modulus) * 0.6180339887);
  multiplier = std::max<std::uint64_t>(1, multiplier);
  while (std::gcd(multiplier, modulus) != 1) ++multiplier;
  return multiplier % modulus;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

std::int64_t TableRows::Digit::Of(std::int64_t row) const {
  const auto scattered = static_cast<std::uint64_t>(
      static_cast<Wide>(static_cast<std::uint64_t>(row)) * multiplier % modulus);
  return static_cast<std::int64_t>(scattered / stride % capacity);
}

std::int64_t TableRows::Group::parents() const {
  return parent != nullptr ? parent->rows() : static_cast<std::int64_t>(sampled.size());
}

TableRows::TableRows(const SchemaTable& table, const TableDescription& description,
                     const Context& context, std::int64_t first_serial)
    : table_(table),
      rules_(ReadRules(table)),
      rows_(description.rows),
      first_serial_(first_serial) {
  MakeColumns(description, context);
  MakeGroups(description, context);
  MakeKeysUnique(description, context);
  SpreadOverParents(description);
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const SchemaColumn& column = table_.columns[i];
    const auto said = description.columns.find(column.name);
    const bool by_default = said != description.columns.end() && said->second.use_default;
    if (column.generated || by_default) continue;
    const bool made = columns_[i].kind != Kind::kPlan || columns_[i].plan != nullptr;
    if (made) {
      written_.push_back(i);
    } else if (!column.nullable && !column.has_default) {
      throw Error(ErrorKind::kUnsupported,
                  context.where + ": no values of the type " + column.type + " can be made for " +
                      table_.name.Display() + "." + db::DisplayIdentifier(column.name) +
                      "; describe it by values or value, or give it a default");
    }
  }
}

std::size_t TableRows::Index(const std::string& column) const {
  for (std::size_t i = 0; i < table_.columns.size(); ++i) {
    if (table_.columns[i].name == column) return i;
  }
  throw Error(ErrorKind::kInternal, "no column " + column + " in " + table_.name.Display());
}

void TableRows::MakeColumns(const TableDescription& description, const Context& context) {
  columns_.resize(table_.columns.size());
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const auto said = description.columns.find(table_.columns[i].name);
    columns_[i].seed = SeedOf(context.seed, table_.name, "column " + table_.columns[i].name);
    MakePlainColumn(i, said == description.columns.end() ? nullptr : &said->second, context);
  }
}

void TableRows::MakePlainColumn(std::size_t at, const ColumnDescription* said,
                                const Context& context) {
  const SchemaColumn& schema = table_.columns[at];
  Column& column = columns_[at];
  ColumnRules rules;
  if (const auto it = rules_.columns.find(schema.name); it != rules_.columns.end()) {
    rules = it->second;
  }
  const bool in_key =
      schema.in_other_unique ||
      std::any_of(table_.keys.begin(), table_.keys.end(),
                  [&](const SchemaKey& key) { return Contains(key.columns, schema.name); });
  const bool may_be_null = schema.nullable && !rules.not_null;
  column.null_share = may_be_null && !in_key ? kNullShare : 0;
  if (schema.sequence_default) column.null_share = 0;
  if (rules.always_null && schema.nullable) column.null_share = 1;
  bool unique = schema.sequence_default || (schema.in_other_unique && schema.base_type != "bool" &&
                                            schema.base_type != "enum");
  if (said != nullptr) {
    if (said->null_share) column.null_share = *said->null_share;
    if (said->unique) unique = *said->unique;
    if (said->text) {
      rules.min_length = std::max(rules.min_length, said->text->first);
      const int most = std::max(said->text->second, rules.min_length);
      rules.max_length = rules.max_length < 0 ? most : std::min(rules.max_length, most);
    }
    if (!said->pattern.empty()) {
      if (!Pattern::Parse(said->pattern)) {
        FailAt(context.where, said->pointer + "/pattern",
               "a regular expression that is not read here; allowed: literals, classes, groups, "
               "|, ?, *, +, {n,m}");
      }
      rules.pattern = said->pattern;
    }
    if (!said->values.empty()) {
      column.kind = Kind::kWeighted;
      double sum = 0;
      for (const auto& [label, weight] : said->values) {
        if (weight <= 0) continue;
        column.labels.push_back(label);
        column.cumulated.push_back(sum += weight);
      }
    }
    if (said->value) {
      column.kind = Kind::kConstant;
      column.constant = *said->value;
    }
    if (said->sequence) {
      column.kind = Kind::kSequence;
      column.low = said->sequence->first;
      column.step = said->sequence->second;
    }
    const auto& range = said->uniform ? said->uniform : said->zipf;
    if (range) {
      const std::string pointer = said->pointer + (said->uniform ? "/uniform" : "/zipf");
      const Ordinal ordinal = Ordinal::Of(schema);
      const auto low = ordinal.Units(range->first, true);
      const auto high = ordinal.Units(range->second, false);
      if (!low || !high) {
        FailAt(context.where, pointer, "not a range of the column's type, " + schema.type);
      }
      if (*low > *high) FailAt(context.where, pointer, "the low end is above the high end");
      rules.intervals = {{*low, *high}};
      rules.segments = 1;
      rules.segment = 0;
      if (said->zipf) {
        column.kind = Kind::kZipf;
        column.low = *low;
        column.span = *high - *low + 1;
      }
    }
  }
  if (ValueMaker::CanMake(schema)) {
    column.plan = std::make_unique<ColumnPlan>(schema, rules, unique);
  }
}

void TableRows::MakeGroups(const TableDescription& description, const Context& context) {
  // The widest keys first: a column of theirs that another key uses too has its value from there.
  std::vector<const SchemaForeignKey*> keys;
  for (const SchemaForeignKey& key : table_.foreign_keys) keys.push_back(&key);
  std::stable_sort(keys.begin(), keys.end(),
                   [](const SchemaForeignKey* a, const SchemaForeignKey* b) {
                     return a->columns.size() > b->columns.size();
                   });
  std::set<std::string> taken;
  for (const SchemaForeignKey* key : keys) {
    if (key->columns.size() != key->to_columns.size()) continue;
    const bool free = std::none_of(key->columns.begin(), key->columns.end(),
                                   [&](const std::string& name) { return taken.contains(name); });
    const ColumnDescription* said = nullptr;
    bool other_way = false;  // the description says where the values come from
    bool nullable = false;
    for (const std::string& name : key->columns) {
      const std::size_t at = Index(name);
      nullable |= table_.columns[at].nullable;
      if (columns_[at].kind != Kind::kPlan) other_way = true;
      const auto it = description.columns.find(name);
      if (it == description.columns.end()) continue;
      if (said == nullptr || !it->second.foreign_key.empty()) said = &it->second;
      if (it->second.uniform || it->second.use_default) other_way = true;
    }
    if (!free || other_way) continue;

    Group group;
    group.key = key;
    group.seed = SeedOf(context.seed, table_.name, "key " + key->columns[0]);
    group.self = key->to == table_.name;
    group.null_share = nullable ? kNullShare : 0;
    if (said != nullptr && said->null_share) group.null_share = *said->null_share;
    if (said != nullptr && said->foreign_key == "zipf") group.choice = Choice::kZipf;
    if (said != nullptr && said->foreign_key == "each") group.choice = Choice::kEach;

    const SchemaTable* parent = context.schema->Find(key->to);
    const auto made = context.all->find(key->to);
    const TableRows* rows = group.self                   ? this
                            : made == context.all->end() ? nullptr
                                                         : made->second.get();
    // An entry without a value yet: a table that is filled after this one.
    group.later = !group.self && made != context.all->end() && made->second == nullptr;
    if (group.later && !nullable) {
      throw Error(ErrorKind::kUnsupported,
                  context.where + ": " + table_.name.Display() + " and " + key->to.Display() +
                      " refer to each other by keys that are NOT NULL: fill them by SQL");
    }
    const bool computable =
        rows != nullptr && rows->rows() > 0 &&
        std::all_of(key->to_columns.begin(), key->to_columns.end(),
                    [&](const std::string& name) { return rows->Computable(name); });
    if (computable) {
      group.parent = rows;
      for (const std::string& name : key->to_columns) {
        group.parent_columns.push_back(rows->Index(name));
      }
    } else if (!group.later && parent != nullptr && !group.self) {
      group.sampled = context.sample(*parent, key->to_columns);
    }
    if (group.parents() == 0 && !group.later) {
      if (!nullable && rows_ > 0) {
        throw Error(ErrorKind::kInvalidSpec, context.where + ": " + description.pointer +
                                                 ": needs rows of " + key->to.Display() +
                                                 ", which has none: give it rows in this file");
      }
      group.always_null = true;
    }
    for (std::size_t i = 0; i < key->columns.size(); ++i) {
      Column& column = columns_[Index(key->columns[i])];
      column.kind = Kind::kForeign;
      column.group = groups_.size();
      column.position = i;
      taken.insert(key->columns[i]);
    }
    groups_.push_back(std::move(group));
  }
}

// Whether one column alone makes the key unique; chosen and set so.
bool TableRows::MakeUniqueByOne(const SchemaKey& key) {
  Column* best = nullptr;
  std::int64_t most = 0;
  // Beside rows that are there already no serial may come back as an older one.
  const std::int64_t needed = first_serial_ > 1 ? first_serial_ + rows_ : rows_;
  for (const std::string& name : key.columns) {
    Column& column = columns_[Index(name)];
    if (column.kind == Kind::kSequence) return true;
    if (column.kind != Kind::kPlan || column.plan == nullptr) continue;
    if (table_.columns[Index(name)].generated) continue;
    const bool is_unique = column.plan->unique();
    const std::int64_t capacity = column.plan->Capacity();
    if (capacity < needed) continue;
    if (is_unique) return true;
    if (capacity > most) {
      most = capacity;
      best = &column;
    }
  }
  if (best == nullptr) return false;
  best->plan->MakeUnique();
  return true;
}

void TableRows::MakeKeysUnique(const TableDescription& description, const Context& context) {
  for (const SchemaKey& key : table_.keys) {
    if (MakeUniqueByOne(key)) continue;
    // Otherwise every row gets a combination of its own.
    struct Part {
      Digit* digit;
      std::uint64_t capacity;
    };
    std::vector<Part> parts;
    std::set<std::size_t> groups;
    std::uint64_t all = 1;
    for (const std::string& name : key.columns) {
      Column& column = columns_[Index(name)];
      Part part{&column.digit, 1};
      if (column.kind == Kind::kForeign) {
        Group& group = groups_[column.group];
        if (group.self || group.later || group.always_null) continue;
        if (!groups.insert(column.group).second) continue;
        part = {&group.digit, static_cast<std::uint64_t>(group.parents())};
        group.null_share = 0;
      } else if (column.kind == Kind::kWeighted) {
        part.capacity = column.labels.size();
      } else if (column.kind == Kind::kPlan && column.plan != nullptr) {
        part.capacity = static_cast<std::uint64_t>(column.plan->Capacity());
        column.plan->MakeUnique();
      }
      if (part.digit->modulus != 0 || part.capacity <= 1) continue;
      part.capacity = std::min<std::uint64_t>(part.capacity, std::uint64_t{1} << 40U);
      all = all > (std::uint64_t{1} << 62U) / part.capacity ? std::uint64_t{1} << 62U
                                                            : all * part.capacity;
      parts.push_back(part);
    }
    if (parts.empty()) continue;
    if (all < static_cast<std::uint64_t>(rows_)) {
      std::string names;
      for (const std::string& name : key.columns) names += (names.empty() ? "" : ", ") + name;
      throw Error(ErrorKind::kInvalidSpec,
                  context.where + ": " + description.pointer + ": " + std::to_string(rows_) +
                      " rows cannot all differ in (" + names + "), which has " +
                      std::to_string(all) + " combinations: lower rows, or widen the columns");
    }
    std::uint64_t stride = 1;
    for (const Part& part : parts) {
      part.digit->modulus = all;
      part.digit->multiplier = Scattering(all);
      part.digit->stride = stride;
      part.digit->capacity = part.capacity;
      stride *= part.capacity;
    }
  }
}

// A unique index that is partial or over an expression: a parent of its own for each row, where
// there are as many and nobody said otherwise.
void TableRows::SpreadOverParents(const TableDescription& description) {
  for (Group& group : groups_) {
    if (group.digit.modulus != 0 || group.self || group.later || group.always_null) continue;
    if (group.parents() < rows_ || group.key->columns.size() != 1) continue;
    const std::string& name = group.key->columns[0];
    const auto said = description.columns.find(name);
    const bool chosen = said != description.columns.end() && !said->second.foreign_key.empty();
    if (chosen || !table_.columns[Index(name)].in_other_unique) continue;
    const auto parents = static_cast<std::uint64_t>(group.parents());
    group.digit = {parents, Scattering(parents), 1, parents};
  }
}

void TableRows::ResolveLater(const Context& context) {
  for (Group& group : groups_) {
    if (!group.later) continue;
    const TableRows* rows = context.all->at(group.key->to).get();
    bool computable = true;
    group.parent_columns.clear();
    for (const std::string& name : group.key->to_columns) {
      computable &= rows->Computable(name);
      group.parent_columns.push_back(rows->Index(name));
    }
    if (computable) {
      group.parent = rows;
    } else {
      group.sampled = context.sample(rows->table(), group.key->to_columns);
    }
  }
}

bool TableRows::Computable(const std::string& name) const {
  for (std::size_t i = 0; i < table_.columns.size(); ++i) {
    if (table_.columns[i].name != name) continue;
    return !table_.columns[i].generated &&
           (columns_[i].kind != Kind::kPlan || columns_[i].plan != nullptr);
  }
  return false;
}

bool TableRows::ForeignCell(const Column& column, std::int64_t row, std::string& out,
                            bool at_last) const {
  const Group& group = groups_[column.group];
  if (group.always_null || (group.later && !at_last)) return false;
  Random random = CellRandom(group.seed, row);
  if (group.null_share > 0 && random.Chance(group.null_share)) return false;
  std::int64_t parents = group.parents();
  if (group.self) {
    parents = row;  // an earlier row, so that the key is there
    if (row == 0) {
      if (table_.columns[Index(group.key->columns[column.position])].nullable) return false;
      parents = 1;  // its own parent
    }
  }
  if (parents == 0) return false;
  std::int64_t chosen = 0;
  if (group.digit.modulus != 0) {
    chosen = group.digit.Of(row);
  } else if (group.choice == Choice::kEach) {
    chosen = row % parents;
  } else if (group.choice == Choice::kZipf) {
    chosen = random.Zipf(parents);
  } else {
    chosen = random.Uniform(0, parents - 1);
  }
  if (group.parent != nullptr) {
    return group.parent->FinalCell(group.parent_columns[column.position], chosen, out);
  }
  const db::Value& value = group.sampled[static_cast<std::size_t>(chosen)][column.position];
  out += value.text;
  return !value.is_null();
}

bool TableRows::FinalCell(std::size_t at, std::int64_t row, std::string& out) const {
  const Column& column = columns_[at];
  if (column.kind == Kind::kForeign) return ForeignCell(column, row, out, /*at_last=*/true);
  return Cell(at, row, out);
}

bool TableRows::Cell(std::size_t at, std::int64_t row, std::string& out) const {
  const Column& column = columns_[at];
  if (column.kind == Kind::kForeign) return ForeignCell(column, row, out, /*at_last=*/false);
  Random random = CellRandom(column.seed, row);
  if (column.null_share > 0 && random.Chance(column.null_share)) return false;
  switch (column.kind) {
    case Kind::kPlan:
      column.plan->Append(out, random,
                          column.digit.modulus != 0 ? column.digit.Of(row) : first_serial_ + row);
      break;
    case Kind::kWeighted: {
      std::size_t which = 0;
      if (column.digit.modulus != 0) {
        which = static_cast<std::size_t>(column.digit.Of(row));
      } else {
        const double drawn = random.Real() * column.cumulated.back();
        while (which + 1 < column.cumulated.size() && drawn >= column.cumulated[which]) ++which;
      }
      out += column.labels[which];
      break;
    }
    case Kind::kZipf:
      column.plan->ordinal().Append(out, column.low + random.Zipf(column.span));
      break;
    case Kind::kSequence:
      AppendNumber(out, column.low + row * column.step);
      break;
    case Kind::kConstant:
      out += column.constant;
      break;
    case Kind::kForeign:
      break;
  }
  return true;
}

db::Value TableRows::ToValue(std::size_t at, std::string text) const {
  const Column& column = columns_[at];
  return column.plan != nullptr ? column.plan->ToValue(std::move(text))
                                : db::Value::Text(std::move(text));
}

bool TableRows::HasLaterKeys() const {
  return std::any_of(groups_.begin(), groups_.end(), [](const Group& g) { return g.later; });
}

std::vector<std::size_t> TableRows::LaterColumns() const {
  std::vector<std::size_t> later;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    if (columns_[i].kind == Kind::kForeign && groups_[columns_[i].group].later) later.push_back(i);
  }
  return later;
}

}  // namespace understudy::harness::internal
