#include "backends/gpu/timelines.h"

#include <chrono>
#include <cstring>
#include <thread>

namespace lfm::gpu {
namespace {

using Clock = std::chrono::steady_clock;

// A layer of one token takes less: for so long the thread only yields, since waking up costs some 70 µs. After that it
// sleeps between two looks.
constexpr std::chrono::microseconds kAwake{2000};
constexpr std::chrono::microseconds kNap{20};
constexpr std::chrono::milliseconds kBetweenChecks{2};
constexpr std::uint64_t kFar = std::uint64_t{1} << 62;

}  // namespace

Timelines::Timelines(Health& health, Memory& memory)
    : health_(health), block_(memory, MemoryKind::kShared, Purpose::kScratch, kBytes) {
    std::memset(block_.host(), 0, kBytes);
}

void Timelines::signal_host() {
    const std::lock_guard lock(host_mutex_);
    host_flag(Timeline::kHostSignals).store(advance(Timeline::kHostSignals), std::memory_order_release);
}

void Timelines::require_working() const {
    health_.require_alive();
    const std::unique_lock may_ask(capturing_, std::try_to_lock);
    if (!may_ask) return;
    for (const api::Stream stream : streams_)
        if (const api::Status status = api::query_stream(stream); status != api::kNotReady)
            health_.check(status, "a kernel or a copy");
}

bool Timelines::wait(Timeline timeline, std::uint64_t value, const std::atomic<bool>& stop) const {
    return wait_for_flag(block_.host() + place(timeline), value, stop);
}

bool Timelines::wait_for_flag(std::byte* flag, std::uint64_t wanted, const std::atomic<bool>& stop) const {
    const std::atomic_ref value(*reinterpret_cast<std::uint64_t*>(flag));
    const auto begin = Clock::now();
    for (auto next_check = begin + kBetweenChecks;;) {
        if (value.load(std::memory_order_acquire) >= wanted) return true;
        if (stop.load(std::memory_order_acquire)) return false;
        const auto now = Clock::now();
        if (now < begin + kAwake) {
            std::this_thread::yield();
            continue;
        }
        std::this_thread::sleep_for(kNap);
        if (now < next_check) continue;
        require_working();
        next_check = now + kBetweenChecks;
    }
}

void Timelines::open(Timeline timeline) noexcept { host_flag(timeline).store(kFar, std::memory_order_release); }

}  // namespace lfm::gpu
