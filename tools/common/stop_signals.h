// Ctrl-C and SIGTERM as a flag that running work reads. Signals belong to the process, so the flag is global.
#pragma once

#include <atomic>

namespace lfm::tools {

/// The first SIGINT or SIGTERM raises the flag; one more while it is up ends the process at once with 128 + signal.
/// System calls that wait fail with EINTR.
void install_stop_signals();

const std::atomic<bool>& stop_flag();

/// Lowers the flag: the next signal counts as the first one again.
void clear_stop_flag();

/// 130 or 143, after the signal that raised the flag last; 0 when there was none.
int stop_exit_code();

}  // namespace lfm::tools
