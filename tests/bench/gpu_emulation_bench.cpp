// What the emulation of GPU threads costs: a switch between fibers, a barrier of a group, an exchange of lanes, a
// launch.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>

#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/lanes.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

struct Push {
    std::uint32_t n;
};

void barriers(Push push) {
    for (std::uint32_t i = 0; i < push.n; ++i) sync_group();
}
void exchanges(Push push) {
    std::uint32_t value = thread_index();
    for (std::uint32_t i = 0; i < push.n; ++i) value = lane_xor(value, 1);
    if (value == ~0u) pause();
}
void nothing(Push) {}

double seconds_of(const std::function<void()>& work) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// The least of 9: other processes use the same cores.
double seconds_to_run(const Kernel& kernel, std::uint32_t n, api::Stream stream, const GroupCounts& groups) {
    const Push push{n};
    std::array<double, 9> times;
    for (double& time : times)
        time = seconds_of([&] {
            api::launch(kernel, groups, &push, stream);
            api::synchronize_stream(stream);
        });
    return std::ranges::min(times);
}

void show(api::Stream stream) {
    constexpr std::uint32_t kTimes = 2000, kThreads = 256, kGroups = 10000;
    const auto per_time = [&](const Kernel& kernel) { return seconds_to_run(kernel, kTimes, stream, {}) / kTimes; };
    const double barrier = per_time(make_kernel("barriers", barriers, kThreads));
    const double exchange = per_time(make_kernel("exchanges", exchanges, kThreads));
    std::printf("barrier of %u threads   %8.2f us, %.1f ns a switch\n", kThreads, 1e6 * barrier,
                1e9 * barrier / kThreads);
    std::printf("exchange of %u threads  %8.2f us\n", kThreads, 1e6 * exchange);
    std::printf("group of %u threads     %8.2f us, none of which meet\n", kThreads,
                1e6 * seconds_to_run(make_kernel("nothing", nothing, kThreads), 0, stream, {kGroups}) / kGroups);
    std::printf("launch and wait          %8.2f us\n",
                1e6 * seconds_to_run(make_kernel("nothing", nothing, 64), 0, stream, {}));
}

}  // namespace
}  // namespace lfm::gpu

int main() {
    lfm::gpu::api::Stream stream{};
    if (lfm::gpu::api::create_stream(&stream) != lfm::gpu::api::kSuccess) return 1;
    lfm::gpu::show(stream);
    lfm::gpu::api::destroy_stream(stream);
}
