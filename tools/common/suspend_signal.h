// Ctrl-Z (SIGTSTP) where a device may be waiting for the host: the process stops between steps, not in one.
#pragma once

#include <optional>

#include "runtime/session/session.h"

namespace lfm::tools {

/// From now on SIGTSTP stops the process as it always does, but for while a SuspendLater lives: then at its end. Where
/// SIGTSTP was ignored it stays so.
void install_suspend_signal();

/// Holds SIGTSTP back.
class SuspendLater {
public:
    SuspendLater();
    SuspendLater(const SuspendLater&) = delete;
    SuspendLater& operator=(const SuspendLater&) = delete;
    /// Stops the process when a SIGTSTP came meanwhile; then returns after SIGCONT.
    ~SuspendLater();

    /// Whether one came.
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
