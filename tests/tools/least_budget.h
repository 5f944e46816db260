// Budgets for tests that want a split: a little more than a program says is the least.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "tests/tools/process.h"

namespace lfm::test {

/// "…MiB": what `command` needs at least on its device, and `more`. The command has no --vram-budget yet.
inline std::string least_budget_and(std::vector<std::string> command, int more) {
    command.insert(command.end(), {"--vram-budget", "1MiB"});
    const std::string err = run(command).err;
    const auto at = err.find("needs ");
    int least = 0;
    if (at != std::string::npos) std::sscanf(err.c_str() + at, "needs %d MiB", &least);
    return std::to_string(least + more) + "MiB";
}

}  // namespace lfm::test
