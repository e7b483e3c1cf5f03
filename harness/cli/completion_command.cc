// Shell completion, from the same table of verbs that parses the command line.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "harness/cli/program.h"

namespace understudy::cli {
namespace {

struct Flag {
  std::string name;  // "--tag"
  std::string help;
  bool takes_value = false;
  std::vector<std::string> choices;
};

struct Node {
  std::string path;  // "", "migrate", "migrate plan"
  std::string help;
  std::vector<Flag> flags;
  std::vector<std::string> choices;  // of its first positional
  std::vector<Node> verbs;
};

// CLI11 shows the values of IsMember in the type's name: "TEXT:{bash,zsh,fish}".
std::vector<std::string> ChoicesOf(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const auto open = type.find('{');
  const auto close = type.find('}');
  std::vector<std::string> choices;
  if (open == std::string::npos || close == std::string::npos) return choices;
  for (const auto& choice : CLI::detail::split(type.substr(open + 1, close - open - 1), ',')) {
    choices.push_back(choice);
  }
  return choices;
}

Node Walk(const CLI::App& app, const std::string& path) {
  Node node{path, app.get_description(), {}, {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty()) {
      if (node.choices.empty()) node.choices = ChoicesOf(*option);
      continue;
    }
    node.flags.push_back({"--" + option->get_lnames().front(), option->get_description(),
                          option->get_items_expected_max() > 0, ChoicesOf(*option)});
  }
  for (const CLI::App* verb : app.get_subcommands(std::function<bool(const CLI::App*)>())) {
    if (verb->get_group().empty()) continue;  // hidden
    node.verbs.push_back(
        Walk(*verb, path.empty() ? verb->get_name() : path + " " + verb->get_name()));
  }
  return node;
}

void Flatten(const Node& node, std::vector<const Node*>& out) {
  out.push_back(&node);
  for (const Node& verb : node.verbs) Flatten(verb, out);
}

// Inside single quotes of any of the three shells.
std::string Quoted(std::string text) {
  for (auto at = text.find('\''); at != std::string::npos; at = text.find('\'', at)) {
    text.replace(at, 1, "\xE2\x80\x99");  // a typographic one: no shell gives it a meaning
    at += 3;
  }
  return text;
}

std::string LastWord(const std::string& path) { return path.substr(path.rfind(' ') + 1); }

std::string Bash(const std::vector<const Node*>& nodes) {
  std::string paths;
  std::string words;
  std::string values;
  for (const Node* node : nodes) {
    if (!node->path.empty()) paths += fmt::format("      '{}') at=\"$try\" ;;\n", node->path);
    std::vector<std::string> flags;
    for (const Flag& flag : node->flags) {
      flags.push_back(flag.name);
      if (!flag.takes_value) continue;
      values += fmt::format(
          "    '{}|{}') values='{}' ;;\n", node->path, flag.name,
          flag.choices.empty() ? "FILES" : fmt::format("{}", fmt::join(flag.choices, " ")));
    }
    std::vector<std::string> next = node->choices;
    for (const Node& verb : node->verbs) next.push_back(LastWord(verb.path));
    words += fmt::format("    '{}') flags='{}' next='{}' ;;\n", node->path, fmt::join(flags, " "),
                         fmt::join(next, " "));
  }
  return fmt::format(R"(# bash completion for understudy:  source <(understudy completion bash)
_understudy() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}"
  local at='' try i flags='' next='' values=''
  for ((i = 1; i < COMP_CWORD; i++)); do
    try="${{at:+$at }}${{COMP_WORDS[i]}}"
    case "$try" in
{}    esac
  done
  case "$at|$prev" in
{}  esac
  case "$at" in
{}  esac
  COMPREPLY=()
  if [[ $values == FILES ]]; then
    COMPREPLY=($(compgen -f -- "$cur"))
  elif [[ -n $values ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$flags" -- "$cur"))
  elif [[ -n $next ]]; then
    COMPREPLY=($(compgen -W "$next" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}}
complete -o filenames -F _understudy understudy
)",
                     paths, values, words);
}

std::string Zsh(const std::vector<const Node*>& nodes) {
  std::string paths;
  std::string words;
  const auto safe = [](std::string text) {
    for (char& c : text) {
      if (c == ':' || c == '[' || c == ']' || c == '\\') c = ' ';
    }
    return Quoted(text);
  };
  for (const Node* node : nodes) {
    if (!node->path.empty()) paths += fmt::format("      '{}') at=\"$try\" ;;\n", node->path);
    words += fmt::format("    '{}')\n", node->path);
    for (const Flag& flag : node->flags) {
      words += fmt::format("      flags+=('{}:{}')\n", flag.name, safe(flag.help));
      if (!flag.choices.empty()) {
        words += fmt::format("      [[ $prev == {} ]] && values=({})\n", flag.name,
                             fmt::join(flag.choices, " "));
      } else if (flag.takes_value) {
        words += fmt::format("      [[ $prev == {} ]] && files=1\n", flag.name);
      }
    }
    for (const Node& verb : node->verbs) {
      words += fmt::format("      next+=('{}:{}')\n", LastWord(verb.path), safe(verb.help));
    }
    if (!node->choices.empty()) {
      words += fmt::format("      next+=({})\n", fmt::join(node->choices, " "));
    }
    words += "      ;;\n";
  }
  return fmt::format(R"(#compdef understudy
# zsh completion for understudy:  source <(understudy completion zsh)
_understudy() {{
  local at='' try i prev="${{words[CURRENT-1]}}" files=''
  local -a flags next values
  for ((i = 2; i < CURRENT; i++)); do
    try="${{at:+$at }}${{words[i]}}"
    case "$try" in
{}    esac
  done
  case "$at" in
{}  esac
  if [[ -n $files ]]; then
    _files
  elif (( ${{#values}} )); then
    compadd -- $values
  elif [[ ${{words[CURRENT]}} == -* ]]; then
    _describe option flags
  elif (( ${{#next}} )); then
    _describe command next
  else
    _files
  fi
}}
compdef _understudy understudy
)",
                     paths, words);
}

std::string Fish(const std::vector<const Node*>& nodes) {
  std::string out = "# fish completion for understudy:  understudy completion fish | source\n";
  for (const Node* node : nodes) {
    // Where the words so far name this verb and none below it.
    std::string where = "__fish_use_subcommand";
    if (!node->path.empty()) {
      std::vector<std::string> seen;
      for (const auto& word : CLI::detail::split(node->path, ' ')) {
        seen.push_back("__fish_seen_subcommand_from " + word);
      }
      where = fmt::format("{}", fmt::join(seen, "; and "));
      std::vector<std::string> below;
      for (const Node& verb : node->verbs) below.push_back(LastWord(verb.path));
      if (!below.empty()) {
        where += fmt::format("; and not __fish_seen_subcommand_from {}", fmt::join(below, " "));
      }
    }
    for (const Node& verb : node->verbs) {
      out += fmt::format("complete -c understudy -n '{}' -f -a {} -d '{}'\n", where,
                         LastWord(verb.path), Quoted(verb.help));
    }
    if (!node->choices.empty()) {
      out += fmt::format("complete -c understudy -n '{}' -f -a '{}'\n", where,
                         fmt::join(node->choices, " "));
    }
    for (const Flag& flag : node->flags) {
      out += fmt::format(
          "complete -c understudy -n '{}' -l {}{} -d '{}'\n", where, flag.name.substr(2),
          flag.choices.empty() ? (flag.takes_value ? std::string(" -r") : std::string())
                               : fmt::format(" -x -a '{}'", fmt::join(flag.choices, " ")),
          Quoted(flag.help));
    }
  }
  return out;
}

}  // namespace

void AddCompletion(CLI::App& app, Program& program) {
  CLI::App* verb = app.add_subcommand("completion", "Print a completion script for a shell");
  auto shell = std::make_shared<std::string>();
  verb->add_option("SHELL", *shell, "The shell")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb->footer("Example:\n  source <(understudy completion bash)");
  verb->callback([&app, &program, shell] {
    program.run = [&app, shell] {
      const Node root = Walk(app, "");
      std::vector<const Node*> nodes;
      Flatten(root, nodes);
      std::cout << (*shell == "bash" ? Bash(nodes) : *shell == "zsh" ? Zsh(nodes) : Fish(nodes));
      return kPass;
    };
  });
}

}  // namespace understudy::cli
