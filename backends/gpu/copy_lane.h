// Copies to and from the device's memory, on a stream of their own: straight from pinned memory, else through two
// pinned buffers that take turns, so that the host fills one while the device empties the other.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/device/copy_queue.h"
#include "backends/device/host_copies.h"
#include "backends/gpu/host_pins.h"
#include "backends/gpu/memory.h"
#include "backends/gpu/timelines.h"

namespace lfm::gpu {

class CopyLane final : public Carrier {
public:
    static constexpr std::size_t kHalfBytes = std::size_t{4} << 20;

    struct Lane {
        int device;  // index
        api::Stream stream;
        bool pins_read_only;
    };
    CopyLane(Health& health, Memory& memory, Timelines& timelines, const Lane& lane);

    static Bytes memory_needed() { return Memory::counted(MemoryKind::kShared, kStagingBytes); }

    /// As Device::copy. Throws Error{kUsage} for addresses outside the device's blocks.
    Point copy(std::span<const CopyRegion> regions, std::span<const Point> waits);
    /// As Device's; both block.
    void upload(std::span<const CopyRegion> regions, const Workers& workers);
    void download(std::span<std::byte> to, const std::byte* from);
    /// Memory that later copies read without staging.
    HostPins& pins() { return pins_; }
    /// Of memory that was to be read without staging, and is not.
    std::vector<std::string> remarks() const { return pins_.remarks(); }
    /// Ends the thread; what it had not begun stays undone.
    void stop() noexcept { queue_->stop(); }

private:
    bool wait_for(Timeline timeline, std::uint64_t value, const std::atomic<bool>& stop) override {
        return timelines_.wait(timeline, value, stop);
    }
    void carry(const CopyJob& job, const std::atomic<bool>& stop) override;
    void fail() noexcept override { health_.fail(); }
    void require_alive() const override { health_.require_alive(); }

    static constexpr std::size_t kStagingBytes = 2 * kHalfBytes + 2 * sizeof(std::uint64_t);  // and flags
    /// Copies without staging that the device has not done, at most, or a quarter more: far below the number after
    /// which a driver blocks its caller, and with it every other call.
    static constexpr std::uint64_t kMostOutstanding = 256;

    struct Half {
        std::byte* begin = nullptr;
        std::size_t used = 0;
        std::uint64_t busy_until = 0;  // the first flag's value once the device has emptied it
    };
    void upload(const CopyJob& job, const std::atomic<bool>& stop);
    void download(const CopyRegion& region);
    void require_own(std::span<const CopyRegion> regions) const;
    /// Adds as much as the half has room for; returns how much.
    std::size_t stage(Half& half, std::byte* to, const std::byte* from, std::size_t size);
    /// Hands the half's copies over.
    void send(Half& half, const Workers* workers);
    /// The half whose turn it is, when the device has emptied it. Null when stopped.
    Half* next_half(const std::atomic<bool>& stop);
    /// Enqueues a copy without staging; waits while too many are under way. False when stopped.
    bool send_direct(const CopyRegion& part, const std::atomic<bool>& stop);
    void send(void* to, const void* from, std::size_t size);
    void raise(std::uint64_t* flag, std::uint64_t value);
    void finish() { health_.check(api::synchronize_stream(lane_.stream), "copies"); }

    Health& health_;
    Memory& memory_;
    Timelines& timelines_;
    Lane lane_;
    HostPins pins_;
    OwnBlock staging_;  // two halves, and two flags
    std::array<Half, 2> halves_;
    std::size_t turn_ = 0;
    std::uint64_t n_sent_ = 0;          // halves; the first flag says how many the device has emptied
    std::uint64_t n_direct_ = 0;        // copies without staging; the other flag says how many are done
    std::vector<CopyRegion> of_half_;   // from the half being filled
    HostCopies copies_;                 // into it
    std::unique_ptr<CopyQueue> queue_;  // last: its thread uses all of the above
};

}  // namespace lfm::gpu
