#include "tools/common/command_line.h"

#include <algorithm>
#include <cctype>
#include <csignal>
#include <cstdio>
#include <exception>
#include <new>
#include <optional>
#include <sstream>

#include "tools/common/llama_options.h"
#include "tools/common/nearest_name.h"
#include "tools/common/version.h"

namespace lfm::tools {
namespace {

/// Every spelling of an option ("--threads", "-t", one-dash words) to its long name in the description.
using OptionNames = std::map<std::string, std::string, std::less<>>;

OptionNames option_names(const po::options_description& description, const OneDashWords& one_dash_words) {
    OptionNames names;
    for (const auto& option : description.options()) {
        names["--" + option->long_name()] = option->long_name();
        const std::string shown = option->canonical_display_name(po::command_line_style::allow_dash_for_short);
        if (shown.size() == 2) names[shown] = option->long_name();
    }
    for (const auto& [word, name] : one_dash_words) names[word] = name;
    return names;
}

/// "5", "-1", ".5" and what goes on after them.
bool begins_number(std::string_view text) {
    if (text.starts_with('-')) text.remove_prefix(1);
    if (text.starts_with('.')) text.remove_prefix(1);
    return !text.empty() && std::isdigit(static_cast<unsigned char>(text.front()));
}

[[noreturn]] void fail_unknown(std::string_view word, const OptionNames& names) {
    const auto has = [&](std::string_view name) { return names.contains(name); };
    if (!word.starts_with('-') || word == "-" || begins_number(word)) {
        const char* hint = word.ends_with(".gguf") && has("-m") ? "; -m names the model"
                           : has("--no-chat")                   ? "; -p \"TEXT\" is the prompt"
                                                                : "";
        throw Error(ErrorCode::kUsage, "\"" + (word.empty() ? "" : shown(word)) + "\"",
                    "expected an option, which begins with a dash, found a word" + std::string(hint) + "; see --help");
    }
    const std::string_view name = word.substr(0, word.find('='));
    if (const auto replacement = replacement_of(name, has)) throw Error(ErrorCode::kUsage, name, *replacement);
    std::vector<std::string> known;
    for (const auto& [text, option] : names) known.push_back(text);
    const auto nearest = nearest_name(name, known);
    throw Error(ErrorCode::kUsage, shown(name),
                "unknown option; " + (nearest ? "did you mean " + *nearest + "? " : std::string()) + "see --help");
}

/// The words in order, each option under its long name with its value, if it takes one.
std::vector<po::option> read_words(const std::vector<std::string>& arguments,
                                   const po::options_description& description, const OptionNames& names) {
    std::vector<po::option> read;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& word = arguments[i];
        std::string spelling = word;
        std::optional<std::string> value;
        if (const std::size_t equals = word.find('='); word.starts_with('-') && equals != std::string::npos) {
            spelling = word.substr(0, equals);
            value = word.substr(equals + 1);
        }
        if (!names.contains(spelling) && word.size() > 2 && word[1] != '-' && begins_number(word.substr(2))) {
            spelling = word.substr(0, 2);  // "-n5"; letters after a letter are a word of its own: "-fa"
            value = word.substr(2);
        }
        const auto name = names.find(spelling);
        if (name == names.end()) fail_unknown(word, names);
        const po::value_semantic& semantic = *description.find(name->second, false).semantic();
        if (semantic.max_tokens() == 0 && value)
            throw Error(ErrorCode::kUsage, spelling, "expected no value, found " + shown(*value));
        // Whatever follows is the value, also "-1" and "- a list": only another option's name is not.
        const bool follows = i + 1 < arguments.size() && !names.contains(arguments[i + 1]);
        const bool optional = semantic.min_tokens() == 0;
        if (semantic.max_tokens() > 0 && !value && follows &&
            (!optional || !arguments[i + 1].starts_with('-') || begins_number(arguments[i + 1])))
            value = arguments[++i];
        if (semantic.min_tokens() > 0 && !value)
            throw Error(ErrorCode::kUsage, spelling,
                        "expected a value, found " +
                            (i + 1 < arguments.size() ? "the option " + arguments[i + 1] : std::string("nothing")));
        const auto before = std::ranges::find(read, name->second, &po::option::string_key);
        if (before != read.end() && semantic.max_tokens() == 0) continue;
        const bool repeats = dynamic_cast<const po::typed_value<std::vector<std::string>>*>(&semantic) != nullptr;
        if (before != read.end() && !repeats) throw Error(ErrorCode::kUsage, spelling, "expected once, found twice");
        read.emplace_back(name->second, value ? std::vector<std::string>{*value} : std::vector<std::string>{});
    }
    return read;
}

}  // namespace

std::string one_line(std::string_view text) {
    std::string line;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        char escaped[8];
        std::snprintf(escaped, sizeof escaped, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\x%02x", byte);
        line += byte >= 0x20 && byte != 0x7f ? std::string(1, c) : escaped;
    }
    return line;
}

std::string shown(std::string_view text) {
    if (text.empty()) return "nothing";
    std::size_t end = 80;
    if (text.size() <= end) return one_line(text);
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;  // whole characters of UTF-8
    return one_line(text.substr(0, end)) + "...";
}

po::variables_map parse_options(const std::vector<std::string>& arguments, const po::options_description& description,
                                const OneDashWords& one_dash_words) {
    try {
        po::parsed_options parsed(&description);
        parsed.options = read_words(arguments, description, option_names(description, one_dash_words));
        po::variables_map values;
        po::store(parsed, values);
        if (values.count("help") == 0) po::notify(values);  // help is there without the required options
        return values;
    } catch (const po::error& error) {
        throw Error(ErrorCode::kUsage, "options", std::string(error.what()) + "; see --help");
    }
}

int exit_code(ErrorCode code) {
    switch (code) {
        case ErrorCode::kUsage: return 2;
        case ErrorCode::kShortfall: return 3;
        case ErrorCode::kInvalidModel:
        case ErrorCode::kUnsupportedModel: return 4;
        case ErrorCode::kDeviceLost: return 5;
        case ErrorCode::kInterrupted: return 130;
        case ErrorCode::kIo:
        case ErrorCode::kInvalidInput:
        case ErrorCode::kNoDevice:
        case ErrorCode::kContextFull: break;
    }
    return 1;
}

int run_tool(const char* name, const std::function<int()>& body) {
    std::signal(SIGXFSZ, SIG_IGN);  // a file that grows too large for the limits is an error like a full disk
    try {
        return body();
    } catch (const Error& error) {
        std::fprintf(stderr, "%s: %s\n", name, one_line(error.what()).c_str());
        return exit_code(error.code());
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "%s: out of memory\n", name);
        return 3;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", name, one_line(error.what()).c_str());
        return 1;
    }
}

std::string help_text(const po::options_description& description) {
    std::ostringstream text;
    text << description;
    return text.str();
}

std::string version_text(const char* tool) { return std::string(tool) + " " + kVersion; }

}  // namespace lfm::tools
