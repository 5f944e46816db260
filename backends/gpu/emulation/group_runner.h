// Runs the groups of a launch. Each thread of a group goes on until it meets others; then the next one of its warp goes
// on. When all of a warp stand at an exchange of lanes the warp goes on, when all of the group stand at a barrier the
// group does. Threads that should meet and do not are reported.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backends/gpu/emulation/copies.h"
#include "backends/gpu/emulation/fiber.h"
#include "backends/gpu/emulation/guarded_block.h"
#include "backends/gpu/emulation/happens_before.h"
#include "backends/gpu/emulation/schedule.h"
#include "backends/gpu/emulation/threads.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu::emulation {

/// For one operating-system thread; stacks serve group after group.
class GroupRunner {
public:
    static constexpr std::uint32_t kMostThreads = 1024;

    /// Kernels that wait end when `abandoned` is set.
    explicit GroupRunner(const std::atomic<bool>& abandoned);

    enum class End : std::uint8_t { kDone, kFailed, kTrespassed, kAbandoned };
    /// On the thread that made it. What goes wrong is reported. 1 to 1024 threads.
    End run(const Kernel& kernel, const GroupCounts& groups, const void* push);
    /// Runs its threads up to await_earlier(), while the device's memory cannot be touched. All must call that.
    End run_until_it_waits(const Kernel& kernel, const GroupCounts& groups, const void* push);

    // For the threads of the group.
    enum class Meeting : std::uint8_t { kGroup, kLanes, kExchange, kReturn, kEarlier };
    void meet(Meeting meeting, const SourcePlace& place);
    std::uint32_t exchange(std::uint32_t value, std::uint32_t from, const SourcePlace& place);
    void show(const void* mine, const SourcePlace& place);
    const void* shown_by(std::uint32_t from) const;
    void* shared_memory(std::size_t size);
    void let_next_start() { lets_next_start_ = true; }
    void await_earlier(const SourcePlace& place);
    void pause();
    [[noreturn]] void fail_unaligned(const void* from, std::size_t size);
    CopiesUnderWay& copies() { return copies_; }

    // For trespass.cpp.
    /// "kernel NAME, group (x, y, z), thread n"
    std::string who_runs() const;
    /// Whether it runs what comes before the wait for earlier kernels.
    bool is_early() const { return early_; }
    /// Null: no thread of a group runs now.
    std::byte* stack_end_of_running() const { return running_ != nullptr ? running_->stack_end() : nullptr; }
    /// The running thread touched what is not there.
    [[noreturn]] void end_by_trespass(const void* address);

    /// The one whose threads run on this operating-system thread.
    static GroupRunner* current();

private:
    struct Arrival {
        Meeting meeting;
        SourcePlace place;
        std::uint32_t thread;
    };

    End run_groups(const Kernel& kernel, const GroupCounts& groups, const void* push);
    void run_group();
    /// Makes all fibers begin anew, as some stand where they will never be resumed.
    void restart_fibers();
    void add_fiber();
    /// Where a thread of the group begins: the body of a fiber.
    static void work();
    /// The thread that goes on after this one arrived; nothing: the group is done.
    std::optional<std::uint32_t> next_thread(Meeting meeting, const SourcePlace& place);
    std::optional<std::uint32_t> next_warp();
    std::optional<std::uint32_t> begin_round();
    void go_on_with(std::uint32_t thread);
    void go_home();
    /// Reports it, with the name of the running thread.
    void note(const std::string& what) const;
    [[noreturn]] void fail_apart(const Arrival& one, const Arrival& other);
    /// Nothing on the thread's stack is destroyed: it must own nothing by now.
    [[noreturn]] void leave(End end);

    std::uint32_t n_warps() const { return (kernel_->n_threads + kWarp - 1) / kWarp; }

    const std::atomic<bool>& abandoned_;
    const Kernel* kernel_ = nullptr;
    const void* push_ = nullptr;
    Order order_ = Order::kForward;
    End end_ = End::kDone;
    std::uint32_t n_pauses_ = 0;  // of this launch
    bool lets_next_start_ = false;
    bool early_ = false;
    GuardedBlock shared_;
    CopiesUnderWay copies_{kMostThreads};

    Fiber home_;
    Fiber* running_ = nullptr;
    std::vector<std::unique_ptr<Fiber>> fibers_;
    std::vector<Fiber*> idle_;
    std::uint32_t turn_ = 0;              // kFiberForEach: the same thread of the next group has another fiber
    Fiber* fiber_of_[kMostThreads] = {};  // none: has not begun, or is over

    // A round: each thread of a warp goes on once. A phase: all warps do rounds until they stand at a barrier.
    std::uint32_t warp_ = 0;      // its number in this phase
    std::uint32_t position_ = 0;  // of the running thread in its round
    std::uint32_t first_thread_ = 0, n_in_warp_ = 0;
    std::optional<Arrival> round_, phase_;  // who came first
    // Values of a round stay until all have read them, in the next one.
    std::uint32_t parity_ = 0;
    std::uint32_t values_[2][kMostThreads];
    const void* shown_[kMostThreads];

    // Memory is seen through barriers and sync_lanes(), not through exchanges. Two of each take turns: what a thread
    // publishes at the next meeting must not be observed by threads that still leave this one.
    HappensBefore began_, ended_, at_group_[2], at_lanes_[kMostThreads / kWarp][2];
    std::uint8_t group_turn_ = 0, lanes_turn_[kMostThreads / kWarp] = {};
};

}  // namespace lfm::gpu::emulation
