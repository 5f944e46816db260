#include "backends/gpu/emulation/group_runner.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string_view>
#include <thread>

#include "backends/gpu/emulation/device.h"
#include "backends/gpu/emulation/reports.h"

namespace lfm::gpu::emulation {

constinit thread_local Place here{};

namespace {

constexpr std::uint32_t kLanes = 32;
constexpr std::size_t kSharedAlignment = 16;

/// Whether threads that never meet have fibers of their own: on a shared one they are one thread to ThreadSanitizer.
#if defined(LFM_EMULATION_TSAN)
constexpr bool kFiberForEach = true;
#else
constexpr bool kFiberForEach = false;
#endif

constinit thread_local GroupRunner* runner_of_thread = nullptr;

/// Not by the address of the call: compilers copy code.
bool same_place(const SourcePlace& a, const SourcePlace& b) {
    if (std::memcmp(&a, &b, sizeof a) == 0) return true;  // mostly
    return a.line() == b.line() && a.column() == b.column() &&
           (a.file_name() == b.file_name() || std::strcmp(a.file_name(), b.file_name()) == 0);
}

std::string text_of(GroupRunner::Meeting meeting, const SourcePlace& place) {
    if (meeting == GroupRunner::Meeting::kReturn) return "returned";
    const std::string_view path = place.file_name();
    if (meeting == GroupRunner::Meeting::kEarlier) return "waiting for the kernels before it";
    const std::string_view name[] = {"at sync_group", "at sync_lanes", "at an exchange of lanes"};
    return std::string(name[static_cast<std::size_t>(meeting)]) + " (" + std::string(path.substr(path.rfind('/') + 1)) +
           ":" + std::to_string(place.line()) + ")";
}

std::string text_of_group() {
    return "group (" + std::to_string(here.group[0]) + ", " + std::to_string(here.group[1]) + ", " +
           std::to_string(here.group[2]) + ")";
}

}  // namespace

GroupRunner* GroupRunner::current() { return runner_of_thread; }

GroupRunner::GroupRunner(const std::atomic<bool>& abandoned) : abandoned_(abandoned) {
    // Threads of the group fill these: memory that one takes and another gives back would be a race to
    // ThreadSanitizer.
    fibers_.reserve(kMostThreads);
    idle_.reserve(kMostThreads);
}

void GroupRunner::add_fiber() {
    fibers_.push_back(std::make_unique<Fiber>(&GroupRunner::work));
    idle_.push_back(fibers_.back().get());
}

GroupRunner::End GroupRunner::run(const Kernel& kernel, const GroupCounts& groups, const void* push) {
    early_ = false;
    return run_groups(kernel, groups, push);
}

GroupRunner::End GroupRunner::run_until_it_waits(const Kernel& kernel, const GroupCounts& groups, const void* push) {
    early_ = true;
    MemoryTable& memory = EmulatedDevice::of_process().memory();
    memory.hide();
    const End end = run_groups(kernel, groups, push);
    memory.show();
    early_ = false;
    return end;
}

GroupRunner::End GroupRunner::run_groups(const Kernel& kernel, const GroupCounts& groups, const void* push) {
    kernel_ = &kernel;
    push_ = push;
    order_ = order();
    end_ = End::kDone;
    if (shared_.size() != kernel.shared_bytes)
        shared_ = kernel.shared_bytes > 0 ? GuardedBlock(kernel.shared_bytes, kSharedAlignment) : GuardedBlock();
    n_pauses_ = 0;
    lets_next_start_ = false;
    while (kFiberForEach && fibers_.size() < kernel.n_threads) add_fiber();
    runner_of_thread = this;
    here.group_size = kernel.n_threads;
    here.n_groups[0] = groups.x;
    here.n_groups[1] = groups.y;
    here.n_groups[2] = groups.z;

    began_.publish();
    const std::uint64_t n = std::uint64_t{groups.x} * groups.y * groups.z;
    for (std::uint64_t i = 0; i < n && end_ == End::kDone; ++i) {
        if (abandoned_.load(std::memory_order_relaxed)) return End::kAbandoned;
        turn_ = static_cast<std::uint32_t>(i % kernel.n_threads);
        const std::uint64_t group = order_ == Order::kForward ? i : n - 1 - i;
        here.group[0] = static_cast<std::uint32_t>(group % groups.x);
        here.group[1] = static_cast<std::uint32_t>(group / groups.x % groups.y);
        here.group[2] = static_cast<std::uint32_t>(group / groups.x / groups.y);
        run_group();
    }
    ended_.observe();
    return end_;
}

void GroupRunner::run_group() {
    if (shared_) {
        std::memset(shared_.data(), 0xff, shared_.size());
        began_.publish();
    }
    warp_ = 0;
    phase_.reset();
    go_on_with(*begin_round());  // comes back when all is over
    if (shared_) ended_.observe();
    if (end_ == End::kDone && early_ && phase_->meeting == Meeting::kReturn) {
        report("kernel " + std::string(kernel_->name) + ", " + text_of_group() +
               ": expected it to wait for the kernels before it, found its end");
        end_ = End::kFailed;
    }
    if (end_ != End::kDone || early_) {
        restart_fibers();
        copies_.forget();
    } else if (copies_.first_unfinished() < kernel_->n_threads) {
        report("kernel " + std::string(kernel_->name) + ", " + text_of_group() + ", thread " +
               std::to_string(copies_.first_unfinished()) +
               ": expected it to wait for the copies that it started, found its end");
        copies_.forget();
        end_ = End::kFailed;
    } else if (!shared_.intact()) {
        report("kernel " + std::string(kernel_->name) + ", " + text_of_group() +
               ": expected no writing beside its shared memory, found some");
        end_ = End::kFailed;
    }
}

void GroupRunner::restart_fibers() {
    std::fill(std::begin(fiber_of_), std::end(fiber_of_), nullptr);
    idle_.clear();
    for (const auto& fiber : fibers_) {
        fiber->restart();
        idle_.push_back(fiber.get());
    }
}

void GroupRunner::await_earlier(const SourcePlace& place) {
    if (!early_) return;
    if (const auto next = next_thread(Meeting::kEarlier, place))
        go_on_with(*next);
    else
        go_home();
    __builtin_unreachable();  // fibers that are left begin anew
}

void GroupRunner::work() {
    GroupRunner& runner = *runner_of_thread;
    for (;;) {
        Fiber* const self = runner.running_;
        runner.fiber_of_[here.thread] = self;
        runner.began_.observe();
        runner.kernel_->call(runner.kernel_->function, runner.push_);
        runner.ended_.publish();
        runner.fiber_of_[here.thread] = nullptr;

        const auto next = runner.next_thread(Meeting::kReturn, {});
        if (!kFiberForEach && next && runner.fiber_of_[*next] == nullptr) {
            here.thread = *next;  // begins on the same stack
            continue;
        }
        if (!kFiberForEach) runner.idle_.push_back(self);
        if (next)
            runner.go_on_with(*next);
        else
            runner.go_home();
    }
}

void GroupRunner::meet(Meeting meeting, const SourcePlace& place) {
    HappensBefore& at = meeting == Meeting::kGroup ? at_group_[group_turn_]
                                                   : at_lanes_[here.thread / kWarp][lanes_turn_[here.thread / kWarp]];
    if (meeting != Meeting::kExchange) at.publish();
    // Only a return ends the group: there is a next one.
    if (const std::uint32_t next = *next_thread(meeting, place); next != here.thread) go_on_with(next);
    if (meeting != Meeting::kExchange) at.observe();
}

std::uint32_t GroupRunner::exchange(std::uint32_t value, std::uint32_t from, const SourcePlace& place) {
    const std::uint32_t set = here.thread / kLanes * kLanes;
    if (from >= kLanes) {
        note("expected a lane below 32 to read from, found " + std::to_string(from));
        leave(End::kFailed);
    }
    if (set + kLanes > kernel_->n_threads) {
        note("expected whole sets of 32 lanes, found a group of " + std::to_string(kernel_->n_threads) + " threads");
        leave(End::kFailed);
    }
    const std::uint32_t* const values = values_[parity_];
    values_[parity_][here.thread] = value;
    meet(Meeting::kExchange, place);
    return values[set + from];
}

void GroupRunner::show(const void* mine, const SourcePlace& place) {
    shown_[here.thread] = mine;
    meet(Meeting::kLanes, place);
}

const void* GroupRunner::shown_by(std::uint32_t from) const { return shown_[here.thread / kLanes * kLanes + from]; }

std::optional<std::uint32_t> GroupRunner::next_thread(Meeting meeting, const SourcePlace& place) {
    if (!round_)
        round_ = {meeting, place, here.thread};
    else if (round_->meeting != meeting || !same_place(round_->place, place))
        fail_apart(*round_, {meeting, place, here.thread});

    if (++position_ < n_in_warp_)
        return order_ == Order::kForward ? first_thread_ + position_ : first_thread_ + n_in_warp_ - 1 - position_;
    if (meeting == Meeting::kGroup || meeting == Meeting::kReturn || meeting == Meeting::kEarlier) return next_warp();
    if (meeting == Meeting::kExchange) parity_ ^= 1;
    if (meeting == Meeting::kLanes) lanes_turn_[here.thread / kWarp] ^= 1;
    return begin_round();
}

std::optional<std::uint32_t> GroupRunner::next_warp() {
    if (!phase_)
        phase_ = round_;
    else if (phase_->meeting != round_->meeting || !same_place(phase_->place, round_->place))
        fail_apart(*phase_, *round_);

    if (++warp_ == n_warps()) {
        if (phase_->meeting == Meeting::kReturn || phase_->meeting == Meeting::kEarlier) return std::nullopt;
        warp_ = 0;
        phase_.reset();
        group_turn_ ^= 1;
    }
    return begin_round();
}

std::optional<std::uint32_t> GroupRunner::begin_round() {
    const std::uint32_t warp = order_ == Order::kForward ? warp_ : n_warps() - 1 - warp_;
    first_thread_ = warp * kWarp;
    n_in_warp_ = std::min(kWarp, kernel_->n_threads - first_thread_);
    position_ = 0;
    round_.reset();
    return order_ == Order::kForward ? first_thread_ : first_thread_ + n_in_warp_ - 1;
}

void GroupRunner::go_on_with(std::uint32_t thread) {
    Fiber* to = fiber_of_[thread];
    if (to == nullptr && kFiberForEach) {
        to = fibers_[(thread + turn_) % kernel_->n_threads].get();
    } else if (to == nullptr) {
        if (idle_.empty()) add_fiber();
        to = idle_.back();
        idle_.pop_back();
    }
    Fiber* const from = running_ != nullptr ? running_ : &home_;
    here.thread = thread;
    running_ = to;
    if (from != to) Fiber::switch_over(*from, *to);
}

void GroupRunner::go_home() {
    Fiber* const from = running_;
    running_ = nullptr;
    Fiber::switch_over(*from, home_);
}

std::string GroupRunner::who_runs() const {
    return "kernel " + std::string(kernel_->name) + ", " + text_of_group() + ", thread " + std::to_string(here.thread);
}

void GroupRunner::note(const std::string& what) const { report(who_runs() + ": " + what); }

void GroupRunner::fail_apart(const Arrival& one, const Arrival& other) {
    const auto is_of_lanes = [](Meeting meeting) {
        return meeting == Meeting::kLanes || meeting == Meeting::kExchange;
    };
    note((is_of_lanes(one.meeting) || is_of_lanes(other.meeting)
              ? "divergent lanes: expected all threads of the warp at one place, found thread "
              : "divergent barrier: expected all threads of the group at one place, found thread ") +
         std::to_string(one.thread) + " " + text_of(one.meeting, one.place) + " and thread " +
         std::to_string(other.thread) + " " + text_of(other.meeting, other.place));
    leave(End::kFailed);
}

void GroupRunner::leave(End end) {
    end_ = end;
    ended_.publish();
    go_home();
    __builtin_unreachable();  // fibers that are left begin anew
}

void GroupRunner::end_by_trespass(const void* address) {
    const bool of_shared = shared_.owns(reinterpret_cast<std::uintptr_t>(address));
    note(std::string(early_ ? "expected no access before it waits for the kernels before it, found one to "
                            : "expected memory, found ") +
         (running_->overflows_at(address) ? "a stack that is used up"
          : of_shared                     ? "an address beside its shared memory"
                                          : EmulatedDevice::of_process().memory().place_of(address)));
    leave(End::kTrespassed);
}

void* GroupRunner::shared_memory(std::size_t size) {
    if (size != kernel_->shared_bytes) {
        note("expected " + std::to_string(kernel_->shared_bytes) + " bytes of shared memory as declared, found " +
             std::to_string(size) + " asked for");
        leave(End::kFailed);
    }
    return shared_.data();
}

void GroupRunner::fail_unaligned(const void* from, std::size_t size) {
    note("expected a load of " + std::to_string(size) + " bytes from a multiple of its size, found an address " +
         std::to_string(reinterpret_cast<std::uintptr_t>(from) % size) + " behind one");
    leave(End::kFailed);
}

void GroupRunner::pause() {
    if (early_ || lets_next_start_) {
        note(early_
                 ? "expected it to wait for the kernels before it first, found that it waits for others"
                 : "expected the next kernel to start after this one, which waits for others, found that it may now");
        leave(End::kFailed);
    }
    if (abandoned_.load(std::memory_order_relaxed)) leave(End::kAbandoned);
    // The thread that it waits for may need this core.
    constexpr std::uint32_t kYields = 100;
    if (++n_pauses_ <= kYields)
        std::this_thread::yield();
    else
        std::this_thread::sleep_for(std::chrono::microseconds(50));
}

}  // namespace lfm::gpu::emulation
