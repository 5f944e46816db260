// What a kernel's threads see of the emulation: where they are, and how they meet. Each thread of a group is a fiber;
// one operating-system thread runs the groups of a launch one after another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

namespace lfm::gpu::emulation {

/// Threads of a warp: 32 or 64, by the build. Functions that lanes call together are called by a whole warp.
#ifndef LFM_EMULATED_WARP
#define LFM_EMULATED_WARP 32
#endif
inline constexpr std::uint32_t kWarp = LFM_EMULATED_WARP;

/// Where in the source threads meet: they must all be at the same place.
using SourcePlace = std::source_location;

struct Place {
    std::uint32_t thread, group_size;
    std::uint32_t group[3], n_groups[3];
};
/// Of the thread that runs now: kernels ask without an argument.
extern constinit thread_local Place here;

inline std::uint32_t thread_index() { return here.thread; }
inline std::uint32_t group_size() { return here.group_size; }
inline std::uint32_t group_index(int axis) { return here.group[axis]; }
inline std::uint32_t n_groups(int axis) { return here.n_groups[axis]; }

void sync_group(SourcePlace place);
void sync_lanes(SourcePlace place);
/// The group's, of exactly this size, the same for all its threads; filled with 0xff at first. 16-byte aligned.
void* shared_memory(std::size_t size);
[[noreturn]] void fail_unaligned(const void* from, std::size_t size);

/// Ends the kernel, as a card does, unless the address is a multiple of the size.
inline void check_alignment(const void* from, std::size_t size) {
    if (reinterpret_cast<std::uintptr_t>(from) % size != 0) fail_unaligned(from, size);
}

/// What thread `from` of this thread's set of 32 gives at this place.
std::uint32_t read_lane_bits(std::uint32_t value, std::uint32_t from, SourcePlace place);
template <typename T>
T read_lane(T value, std::uint32_t from, SourcePlace place = SourcePlace::current()) {
    static_assert(sizeof(T) == sizeof(std::uint32_t) && std::is_trivially_copyable_v<T>);
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits = read_lane_bits(bits, from, place);
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

/// Shows `mine` to the lanes of this thread's set; returns when all have met. Then shown_by_lane() gives what lane
/// `from` shows, until the lanes meet again. Exchanges many values at the cost of one meeting.
void show_to_lanes(const void* mine, SourcePlace place);
const void* shown_by_lane(std::uint32_t from);

void let_next_start();
void await_earlier(SourcePlace place);
void fence_system();
/// Nanoseconds.
std::uint64_t device_ticks();
/// Lets other operating-system threads run. Ends the kernel when the device is lost.
void pause();

}  // namespace lfm::gpu::emulation
