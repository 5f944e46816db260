// Options, errors and exit codes, the same in every tool.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <boost/program_options.hpp>

#include "memory/error.h"

namespace lfm::tools {

namespace po = boost::program_options;

/// One-dash words and second names, and what they stand for: {"-sys", "system-prompt"}.
using OneDashWords = std::map<std::string, std::string>;

/// Parses `arguments` (without the program's name). What follows an option that takes a value is its value, also with a
/// dash in front ("-n -1", "-p '- a list'"), unless it is an option's name. "-n5" is "-n 5"; letters after a letter are
/// a word of its own. Throws Error{kUsage} naming what the description does not know, with the option that was meant:
/// the nearest, or what replaces llama.cpp's. An option whose value is a list of strings may be repeated.
po::variables_map parse_options(const std::vector<std::string>& arguments, const po::options_description& description,
                                const OneDashWords& one_dash_words = {});

/// Without line breaks and other control characters: "a\\nb".
std::string one_line(std::string_view text);

/// one_line of what a user wrote, for an error: cut after about 80 bytes; "nothing" for an empty text.
std::string shown(std::string_view text);

/// The exit code of an error: 1 failure while running, 2 usage, 3 does not fit, 4 bad model, 5 device lost,
/// 130 interrupted.
int exit_code(ErrorCode code);

/// Calls `body` and returns its exit code. An exception becomes one line "name: …" on stderr; returns an Error's exit
/// code, 3 for std::bad_alloc, 1 for any other.
int run_tool(const char* name, const std::function<int()>& body);

/// What --help shows: every option with its text.
std::string help_text(const po::options_description& description);

/// Version and build, for --version.
std::string version_text(const char* tool);

}  // namespace lfm::tools
