// Ctrl-Z (SIGTSTP) where a device may be waiting for the host: the process stops between steps, not in one.
#pragma once

#include <optional>

#include "runtime/session/session.h"

namespace lfm::tools {

/// From now on SIGTSTP stops the process at once, or, while a SuspendLater exists, when the last one ends. Where
/// SIGTSTP was ignored it stays ignored.
void install_suspend_signal();

/// Delays SIGTSTP until its end.
class SuspendLater {
public:
    SuspendLater();
    SuspendLater(const SuspendLater&) = delete;
    SuspendLater& operator=(const SuspendLater&) = delete;
    /// Stops the process when a SIGTSTP came meanwhile; then returns after SIGCONT.
    ~SuspendLater();

    /// Whether a SIGTSTP came and is delayed.
    static bool is_asked();
};

/// A running step finishes first: a device that waits for a stopped host would spin all the while.
class SuspendBetweenSteps final : public StepWatcher {
public:
    void step_begins() override { held_.emplace(); }
    void step_ends() override { held_.reset(); }

private:
    std::optional<SuspendLater> held_;
};

}  // namespace lfm::tools
