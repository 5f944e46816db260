#include "backends/gpu/kernels/points.h"

#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

// One thread does it; the others of its warp are there so that warps are whole.
constexpr std::uint32_t kThreads = 64;

/// A flag that nobody waits for is not read: a read across the bus takes as long as a small kernel.
__device__ inline bool is_reached(const std::uint64_t* flag, std::uint64_t value) {
    return value == 0 || load_flag(flag) >= value;
}

// Neither lets the next kernel start before its end: see let_next_start().
__global__ void __launch_bounds__(kThreads) meet(MeetPush push) {
    await_earlier();
    if (thread_index() != 0) return;
    const std::uint64_t reached = push.finished != nullptr ? push.finished->reached : push.points.reached;
    const std::uint64_t host = push.next != nullptr ? push.next->host : push.points.host;
    const std::uint64_t copy = push.next != nullptr ? push.next->copy : push.points.copy;
    const bool waits = host > 0 || copy > 0;
    const bool gave_up = waits && *push.gave_up.here != 0;
    if (reached > 0) {
        fence_system();
        store_flag(push.compute, reached);
    }
    if (!waits || gave_up) return;
    const std::uint64_t begin = device_ticks();
    while (!is_reached(push.host, host) || !is_reached(push.copy, copy)) {
        pause();
        if (device_ticks() - begin < push.most_ticks) continue;
        // The process may be stopped, in a debugger or slow, and a display on this device waits for the kernel's end.
        *push.gave_up.here = 1;
        store_flag(push.gave_up.host, 1);
        break;
    }
    fence_system();
}

__global__ void __launch_bounds__(kThreads) raise(RaisePush push) {
    await_earlier();
    if (thread_index() != 0) return;
    fence_system();
    store_flag(push.flag, push.value);
}

}  // namespace

Kernel meet_kernel() { return make_kernel("meet", meet, kThreads); }
Kernel raise_kernel() { return make_kernel("raise", raise, kThreads); }

}  // namespace lfm::gpu
