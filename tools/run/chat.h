// The chat on a terminal.
#pragma once

#include "tools/common/console.h"
#include "tools/run/model.h"
#include "tools/run/options.h"

namespace lfm::tools {

/// Reads messages and commands until the user leaves. Returns the exit code: 0, or 130 / 143 after a signal.
int run_chat(const RunOptions& options, RunModel& model, const Ledger& ledger, const Console& console);

}  // namespace lfm::tools
