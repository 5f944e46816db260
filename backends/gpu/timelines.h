// The three timelines as flags in pinned memory: who has reached which point; and whether a kernel gave up waiting.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include "backends/device.h"
#include "backends/gpu/memory.h"

namespace lfm::gpu {

class Timelines {
public:
    Timelines(Health& health, Memory& memory);
    static Bytes memory_needed() { return Memory::counted(MemoryKind::kShared, kBytes); }

    /// The flag's address for kernels.
    std::uint64_t* flag(Timeline timeline) const {
        return reinterpret_cast<std::uint64_t*>(block_.address() + place(timeline));
    }
    std::uint64_t value(Timeline timeline) const { return host_flag(timeline).load(std::memory_order_acquire); }
    std::uint64_t last(Timeline timeline) const { return slot(timeline).load(std::memory_order_acquire); }
    /// Returns the next point to enqueue on a lane; one thread at a time for each.
    std::uint64_t advance(Timeline timeline) { return slot(timeline).fetch_add(1, std::memory_order_acq_rel) + 1; }
    /// Whether everything up to the last point is reached.
    bool settled(Timeline timeline) const { return value(timeline) >= last(timeline); }
    /// Reaches the host's next point.
    void signal_host();

    /// Blocks until the value is reached; false when `stop` became true first. Throws Error{kDeviceLost}.
    bool wait(Timeline timeline, std::uint64_t value, const std::atomic<bool>& stop) const;
    void wait(Timeline timeline, std::uint64_t value) const { wait(timeline, value, never_); }
    /// The same for another flag in pinned memory.
    bool wait_for_flag(std::byte* flag, std::uint64_t value, const std::atomic<bool>& stop) const;
    /// The address, for kernels, of the flag that says that one of them gave up waiting.
    std::uint64_t* gave_up_flag() const { return reinterpret_cast<std::uint64_t*>(block_.address() + kGaveUpAt); }
    bool gave_up() const { return of_host(kGaveUpAt).load(std::memory_order_acquire) != 0; }
    void forget_that_it_gave_up() { of_host(kGaveUpAt).store(0, std::memory_order_release); }

    /// For closing the device: sets the flag far beyond every point that kernels may wait for.
    void open(Timeline timeline) noexcept;

    /// From now on, waiting threads ask these streams now and then whether the device failed. They outlive this.
    void watch(api::Stream compute, api::Stream copies) { streams_ = {compute, copies}; }
    /// Held while a stream is captured: querying it would invalidate the capture.
    std::mutex& capturing() { return capturing_; }

private:
    static constexpr std::size_t kApart = 128;  // bytes: flags of different writers lie in different cache lines
    static constexpr std::size_t kGaveUpAt = kTimelines * kApart;
    static constexpr std::size_t kBytes = kGaveUpAt + kApart;
    static std::size_t place(Timeline timeline) { return static_cast<std::size_t>(timeline) * kApart; }
    std::atomic_ref<std::uint64_t> of_host(std::size_t at) const {
        return std::atomic_ref(*reinterpret_cast<std::uint64_t*>(block_.host() + at));
    }
    std::atomic_ref<std::uint64_t> host_flag(Timeline timeline) const { return of_host(place(timeline)); }
    const std::atomic<std::uint64_t>& slot(Timeline timeline) const {
        return last_[static_cast<std::size_t>(timeline)];
    }
    std::atomic<std::uint64_t>& slot(Timeline timeline) { return last_[static_cast<std::size_t>(timeline)]; }
    void require_working() const;

    const std::atomic<bool> never_ = false;
    Health& health_;
    OwnBlock block_;
    std::array<std::atomic<std::uint64_t>, kTimelines> last_{};
    std::array<api::Stream, 2> streams_{};
    std::mutex host_mutex_;
    mutable std::mutex capturing_;
};

}  // namespace lfm::gpu
