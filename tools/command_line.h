// Options, errors and exit codes, the same in every tool.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <boost/program_options.hpp>

#include "memory/error.h"

namespace lfm::tools {

namespace po = boost::program_options;

/// One-dash words and second names, and what they stand for: {"-sys", "system-prompt"}.
using OneDashWords = std::map<std::string, std::string>;

/// Parses `arguments` (without the program's name). Throws Error{kUsage} for what the description does not know.
/// Negative numbers may follow an option ("-n -1").
po::variables_map parse_options(const std::vector<std::string>& arguments, const po::options_description& description,
                                const OneDashWords& one_dash_words = {});

/// The exit code of design.md's table: 0 ok, 1 failure while running, 2 usage, 3 does not fit, 4 bad model, 5 device
/// lost.
int exit_code(ErrorCode code);

/// Calls `body`; an Error becomes one line "name: …" on stderr and its exit code. Any other exception exits with 1.
int run_tool(const char* name, const std::function<int()>& body);

/// Version and build, for --version.
std::string version_text(const char* tool);

}  // namespace lfm::tools
