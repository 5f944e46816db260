#include "tools/command_line.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <exception>
#include <new>

#include "tools/version.h"

namespace lfm::tools {
namespace {

bool is_number(const std::string& text) {
    return text.size() > 1 && text[0] == '-' && (std::isdigit(static_cast<unsigned char>(text[1])) || text[1] == '.');
}

}  // namespace

po::variables_map parse_options(const std::vector<std::string>& arguments, const po::options_description& description,
                                const OneDashWords& one_dash_words) {
    std::vector<std::string> expanded;
    for (const std::string& argument : arguments) {
        const std::size_t equals = std::min(argument.find('='), argument.size());
        const auto word = one_dash_words.find(argument.substr(0, equals));
        if (word != one_dash_words.end()) {
            expanded.push_back("--" + word->second + argument.substr(equals));
        } else if (is_number(argument) && !expanded.empty() && expanded.back().starts_with("-")) {
            // "-n -1": Boost would read "-1" as an option; glued to the option before it is a value.
            const bool long_option = expanded.back().starts_with("--");
            expanded.back() += (long_option ? "=" : "") + argument;
        } else {
            expanded.push_back(argument);
        }
    }
    namespace style = po::command_line_style;
    constexpr int kStyle = style::allow_long | style::allow_short | style::allow_dash_for_short | style::allow_sticky |
                           style::long_allow_adjacent | style::long_allow_next | style::short_allow_adjacent |
                           style::short_allow_next;
    try {
        po::variables_map values;
        po::store(po::command_line_parser(expanded).options(description).positional({}).style(kStyle).run(), values);
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
    try {
        return body();
    } catch (const Error& error) {
        std::fprintf(stderr, "%s: %s\n", name, error.what());
        return exit_code(error.code());
    } catch (const std::bad_alloc&) {
        std::fprintf(stderr, "%s: out of memory\n", name);
        return 3;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", name, error.what());
        return 1;
    }
}

std::string version_text(const char* tool) { return std::string(tool) + " " + kVersion; }

}  // namespace lfm::tools
