#include "runtime/machine/processor_load.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

#include <sys/resource.h>
#include <unistd.h>

namespace lfm {
namespace {

constexpr double kNoticed = 0.1;  // processors

double seconds(const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

}  // namespace

ProcessorTimes processor_times() {
    ProcessorTimes times;
    times.clock = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    rusage used{};
    ::getrusage(RUSAGE_SELF, &used);
    times.own = seconds(used.ru_utime) + seconds(used.ru_stime);
    std::ifstream file("/proc/stat");  // "cpu  user nice system idle iowait irq softirq steal …", in ticks
    std::string word;
    double user, nice, system, idle, waiting, irq, soft_irq, stolen;
    if (!(file >> word >> user >> nice >> system >> idle >> waiting >> irq >> soft_irq >> stolen) || word != "cpu")
        return times;
    const auto tick = 1.0 / static_cast<double>(::sysconf(_SC_CLK_TCK));
    times.busy = (user + nice + system + irq + soft_irq) * tick;
    times.stolen = stolen * tick;
    return times;
}

std::string load_remark(const ProcessorTimes& before, const ProcessorTimes& after) {
    const double passed = after.clock - before.clock;
    if (before.busy < 0 || after.busy < 0 || passed <= 0) return {};
    const double others = (after.busy - before.busy - (after.own - before.own)) / passed;
    const double stolen = (after.stolen - before.stolen) / passed;
    char text[160];
    if (std::max(others, stolen) < kNoticed) return {};
    if (others >= stolen)
        std::snprintf(text, sizeof text, "noisy: other programs kept %.1f processors busy; figures may be too low",
                      others);
    else
        std::snprintf(text, sizeof text, "noisy: the host of this virtual machine held back %.1f processors", stolen);
    return text;
}

}  // namespace lfm
