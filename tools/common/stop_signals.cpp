#include "tools/common/stop_signals.h"

#include <csignal>

#include <unistd.h>

namespace lfm::tools {
namespace {

std::atomic<bool> stop_raised = false;
std::atomic<int> last_signal = 0;
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
              "else a signal handler must not touch them");

extern "C" void on_stop_signal(int signal) {
    last_signal = signal;
    if (stop_raised.exchange(true)) ::_exit(128 + signal);
}

}  // namespace

void install_stop_signals() {
    struct sigaction action {};
    action.sa_handler = on_stop_signal;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
}

const std::atomic<bool>& stop_flag() { return stop_raised; }

void clear_stop_flag() { stop_raised = false; }

int stop_exit_code() { return last_signal == 0 ? 0 : 128 + last_signal; }

}  // namespace lfm::tools
