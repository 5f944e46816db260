// Random command lines of the five programs: known and unknown options, with values that are sound, at their bounds and
// beyond. The same seed gives the same line.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace lfm::test {

struct RandomCommand {
    std::string program;               // "lfm-run"
    std::vector<std::string> words;    // after it
    std::vector<std::string> outputs;  // values of options that name a file to write
    std::string input;                 // for standard input
};

/// Files that values refer to, by the names that a command's folder has for them.
struct CommandFiles {
    std::vector<std::string> models;  // sound ones first
    std::vector<std::string> texts;
    std::vector<std::string> others;   // of every kind: garbage, empty, folders, missing
    std::vector<std::string> outputs;  // places to write to, also impossible ones
};

RandomCommand random_command(std::uint64_t seed, const CommandFiles& files);

}  // namespace lfm::test
