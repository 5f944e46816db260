#include "backends/gpu/kernels/points.h"

#include "backends/gpu/platform/kernel.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

// One thread does it; the others of its warp are there so that warps are whole.
constexpr std::uint32_t kThreads = 64;

__device__ void wait_for(const std::uint64_t* flag, std::uint64_t value) {
    while (load_flag(flag) < value) pause();
}

__global__ void __launch_bounds__(kThreads) meet(MeetPush push) {
    if (thread_index() != 0) return;
    if (push.finished != nullptr) {
        fence_system();
        store_flag(push.compute, push.finished->reached);
    }
    if (push.next == nullptr) return;
    wait_for(push.host, push.next->host);
    wait_for(push.copy, push.next->copy);
    fence_system();
}

__global__ void __launch_bounds__(kThreads) raise(RaisePush push) {
    if (thread_index() != 0) return;
    fence_system();
    store_flag(push.flag, push.value);
}

}  // namespace

Kernel meet_kernel() { return make_kernel("meet", meet, kThreads); }
Kernel raise_kernel() { return make_kernel("raise", raise, kThreads); }

}  // namespace lfm::gpu
