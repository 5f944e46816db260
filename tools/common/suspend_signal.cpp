#include "tools/common/suspend_signal.h"

#include <atomic>
#include <cerrno>
#include <csignal>

#include <unistd.h>

namespace lfm::tools {
namespace {

// Signals belong to the process, so these are global; a handler on any thread reads and writes them.
std::atomic<int> holders = 0;
std::atomic<bool> asked = false;
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free,
              "else a signal handler must not touch them");

/// Stops the process by SIGSTOP, which needs no handler to be removed first; shells see a stopped job all the same.
void stop_if_asked() {
    if (asked.exchange(false)) ::kill(::getpid(), SIGSTOP);
}

extern "C" void on_suspend_signal(int) {
    const int kept = errno;
    asked = true;
    if (holders == 0) stop_if_asked();
    errno = kept;
}

}  // namespace

void install_suspend_signal() {
    struct sigaction before {};
    ::sigaction(SIGTSTP, nullptr, &before);
    if (before.sa_handler == SIG_IGN) return;  // whoever started this wants it so
    struct sigaction action {};
    action.sa_handler = on_suspend_signal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGTSTP, &action, nullptr);
}

SuspendLater::SuspendLater() { ++holders; }

SuspendLater::~SuspendLater() {
    // A signal after the decrement finds no holder and stops the process itself; one before it has set `asked`.
    if (--holders == 0) stop_if_asked();
}

bool SuspendLater::is_asked() { return asked; }

}  // namespace lfm::tools
