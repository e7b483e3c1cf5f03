#include "harness/schema/pattern.h"

#include <algorithm>
#include <cctype>

namespace understudy::harness {
namespace {

constexpr int kUsualRepeats = 8;  // of what may be repeated without an end

std::string Filter(bool (*keep)(unsigned char)) {
  std::string set;
  for (unsigned char c = 0x21; c < 0x7f; ++c) {
    if (keep(c)) set += static_cast<char>(c);
  }
  return set;
}
bool IsWord(unsigned char c) { return std::isalnum(c) != 0 || c == '_'; }
bool IsDigit(unsigned char c) { return std::isdigit(c) != 0; }

std::optional<std::string> NamedClass(std::string_view name) {
  if (name == "alpha") return Filter([](unsigned char c) { return std::isalpha(c) != 0; });
  if (name == "digit") return Filter(IsDigit);
  if (name == "alnum") return Filter([](unsigned char c) { return std::isalnum(c) != 0; });
  if (name == "lower") return Filter([](unsigned char c) { return std::islower(c) != 0; });
  if (name == "upper") return Filter([](unsigned char c) { return std::isupper(c) != 0; });
  if (name == "punct") return Filter([](unsigned char c) { return std::ispunct(c) != 0; });
  if (name == "xdigit") return Filter([](unsigned char c) { return std::isxdigit(c) != 0; });
  if (name == "space") return std::string(" ");
  return std::nullopt;
}

// For what may be anything. No capitals: texts that differ also do without regard to case.
std::string Plain() {
  return Filter([](unsigned char c) { return std::islower(c) != 0 || std::isdigit(c) != 0; });
}

struct NotRead {};

}  // namespace

class Pattern::Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Sequence Whole() {
    std::vector<Sequence> alternatives = Alternatives();
    if (at_ != text_.size()) throw NotRead();
    if (alternatives.size() == 1) return std::move(alternatives[0]);
    Node group;
    group.alternatives = std::move(alternatives);
    return {std::move(group)};
  }

 private:
  bool More() const { return at_ < text_.size(); }
  bool Take(char c) {
    if (!More() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  std::vector<Sequence> Alternatives() {
    std::vector<Sequence> alternatives(1);
    while (More() && text_[at_] != ')') {
      if (Take('|')) {
        alternatives.emplace_back();
      } else if (Take('^') || Take('$')) {
        continue;
      } else {
        alternatives.back().push_back(Counted());
      }
    }
    return alternatives;
  }

  Node Counted() {
    Node node = One();
    if (Take('*')) {
      node.at_least = 0;
      node.at_most = -1;
    } else if (Take('+')) {
      node.at_most = -1;
    } else if (Take('?')) {
      node.at_least = 0;
    } else if (Take('{')) {
      node.at_least = Number();
      node.at_most = node.at_least;
      if (Take(',')) node.at_most = More() && text_[at_] != '}' ? Number() : -1;
      if (!Take('}')) throw NotRead();
    }
    Take('?');  // a lazy one matches the same
    return node;
  }

  int Number() {
    int number = 0;
    bool any = false;
    while (More() && IsDigit(static_cast<unsigned char>(text_[at_]))) {
      number = number * 10 + (text_[at_++] - '0');
      any = true;
      if (number > 10000) throw NotRead();
    }
    if (!any) throw NotRead();
    return number;
  }

  Node One() {
    Node node;
    const char c = text_[at_++];
    if (c == '(') {
      if (Take('?') && !Take(':')) throw NotRead();
      node.alternatives = Alternatives();
      if (!Take(')')) throw NotRead();
    } else if (c == '[') {
      node.set = Class();
    } else if (c == '.') {
      node.set = Plain();
    } else if (c == '\\') {
      node.set = Escape();
    } else if (c == '*' || c == '+' || c == '?' || c == '{') {
      throw NotRead();
    } else {
      node.set = std::string(1, c);
    }
    return node;
  }

  std::string Escape() {
    if (!More()) throw NotRead();
    const char c = text_[at_++];
    if (c == 'd') return Filter(IsDigit);
    if (c == 'w') return Filter(IsWord);
    if (c == 's') return " ";
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) throw NotRead();
    return std::string(1, c);
  }

  std::string Class() {
    const bool negated = Take('^');
    std::string set;
    for (bool first = true; first || !Take(']'); first = false) {
      if (!More()) throw NotRead();
      if (text_.substr(at_, 2) == "[:") {
        const auto end = text_.find(":]", at_);
        if (end == std::string_view::npos) throw NotRead();
        const auto named = NamedClass(text_.substr(at_ + 2, end - at_ - 2));
        if (!named) throw NotRead();
        set += *named;
        at_ = end + 2;
        continue;
      }
      if (text_[at_] == '\\') {
        ++at_;
        set += Escape();
        continue;
      }
      const char low = text_[at_++];
      if (at_ + 1 < text_.size() && text_[at_] == '-' && text_[at_ + 1] != ']') {
        const char high = text_[at_ + 1];
        at_ += 2;
        for (int c = low; c <= high && c < 0x7f; ++c) set += static_cast<char>(c);
      } else {
        set += low;
      }
    }
    if (negated) {
      std::string others;
      for (const char c : Plain()) {
        if (set.find(c) == std::string::npos) others += c;
      }
      if (others.empty()) {
        for (const char c : Filter([](unsigned char) { return true; })) {
          if (set.find(c) == std::string::npos) others += c;
        }
      }
      set = others;
    }
    std::erase_if(set, [](char c) { return static_cast<unsigned char>(c) >= 0x7f; });
    if (set.empty()) throw NotRead();
    return set;
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::optional<Pattern> Pattern::Parse(std::string_view regex) {
  try {
    Pattern pattern;
    pattern.sequence_ = Parser(regex).Whole();
    return pattern;
  } catch (const NotRead&) {
    return std::nullopt;
  }
}

void Pattern::Expand(const Sequence& sequence, Random* random, int extra,
                     std::vector<const std::string*>& sets) {
  for (const Node& node : sequence) {
    const int most =
        node.at_most < 0 ? node.at_least + extra : std::min(node.at_most, node.at_least + extra);
    const int times =
        random == nullptr ? most : static_cast<int>(random->Uniform(node.at_least, most));
    for (int i = 0; i < times; ++i) {
      if (!node.set.empty()) {
        sets.push_back(&node.set);
        continue;
      }
      const auto which =
          random == nullptr
              ? 0
              : random->Uniform(0, static_cast<std::int64_t>(node.alternatives.size()) - 1);
      Expand(node.alternatives[static_cast<std::size_t>(which)], random, extra, sets);
    }
  }
}

std::vector<const std::string*> Pattern::Sets(Random* random, int min_length,
                                              int max_length) const {
  std::vector<const std::string*> sets;
  for (int extra = std::max(kUsualRepeats, min_length); extra >= 0; --extra) {
    sets.clear();
    Expand(sequence_, random, extra, sets);
    const int length = static_cast<int>(sets.size());
    if (length < min_length && random != nullptr) {
      sets.clear();
      Expand(sequence_, nullptr, extra, sets);
    }
    if (max_length < 0 || static_cast<int>(sets.size()) <= max_length) break;
  }
  return sets;
}

void Pattern::Append(std::string& out, Random& random, std::optional<std::int64_t> serial,
                     int min_length, int max_length) const {
  const auto sets = Sets(serial ? nullptr : &random, min_length, max_length);
  const std::size_t begin = out.size();
  out.append(sets.size(), ' ');
  auto rest = static_cast<std::uint64_t>(serial.value_or(0));
  for (std::size_t i = sets.size(); i-- > 0;) {
    const std::string& set = *sets[i];
    std::uint64_t digit = 0;
    if (serial) {
      digit = rest % set.size();
      rest /= set.size();
    } else {
      digit = random.Next() % set.size();
    }
    out[begin + i] = set[digit];
  }
}

std::int64_t Pattern::Capacity(int min_length, int max_length) const {
  std::int64_t capacity = 1;
  for (const std::string* set : Sets(nullptr, min_length, max_length)) {
    const auto size = static_cast<std::int64_t>(set->size());
    if (capacity > INT64_MAX / size) return INT64_MAX;
    capacity *= size;
  }
  return capacity;
}

}  // namespace understudy::harness
