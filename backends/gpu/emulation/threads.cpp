#include "backends/gpu/emulation/threads.h"

#include <atomic>
#include <chrono>

#include "backends/gpu/emulation/group_runner.h"

namespace lfm::gpu::emulation {

using Meeting = GroupRunner::Meeting;

void sync_group(SourcePlace place) { GroupRunner::current()->meet(Meeting::kGroup, place); }
void sync_lanes(SourcePlace place) { GroupRunner::current()->meet(Meeting::kLanes, place); }
void* shared_memory(std::size_t size) { return GroupRunner::current()->shared_memory(size); }
std::uint32_t read_lane_bits(std::uint32_t value, std::uint32_t from, SourcePlace place) {
    return GroupRunner::current()->exchange(value, from, place);
}
void let_next_start() { GroupRunner::current()->let_next_start(); }
void await_earlier(SourcePlace place) { GroupRunner::current()->await_earlier(place); }
void fail_unaligned(const void* from, std::size_t size) { GroupRunner::current()->fail_unaligned(from, size); }
void fence_system() {
#if !defined(LFM_EMULATION_TSAN)  // it does not know fences; flags have an order of their own
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}
void show_to_lanes(const void* mine, SourcePlace place) { GroupRunner::current()->show(mine, place); }
const void* shown_by_lane(std::uint32_t from) { return GroupRunner::current()->shown_by(from); }
std::uint64_t device_ticks() {
    return static_cast<std::uint64_t>(
        std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count());
}
void pause() { GroupRunner::current()->pause(); }

}  // namespace lfm::gpu::emulation
