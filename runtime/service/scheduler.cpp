#include "runtime/service/scheduler.h"

#include <algorithm>
#include <tuple>

#include "backends/needs/kv_pages.h"

namespace lfm {
namespace {

/// Of the room for prompts, what the one that has waited longest gets at least.
constexpr std::uint32_t kShareOfOldest = 4;  // a quarter
/// Rows for prompts even where those that generate fill the time: nobody starves.
constexpr std::uint32_t kLeastPromptRows = 16;
/// A request that is alone: steps may be so many times as long. Whoever comes meanwhile waits for one of them.
constexpr double kAlone = 2;

}  // namespace

std::uint32_t StepPlan::n_rows() const {
    std::uint32_t n = 0;
    for (const Slice& slice : slices) n += slice.n_rows;
    return n;
}

void Scheduler::submit(RequestId id, const RequestSize& size, double now) {
    requests_.push_back({.id = id, .priority = size.priority, .submitted = now, .n_target = size.n_prompt});
    set_cached(id, size.n_cached);
}

void Scheduler::remove(RequestId id) {
    std::erase_if(requests_, [&](const Request& request) { return request.id == id; });
}

Scheduler::Request* Scheduler::find(RequestId id) {
    const auto found = std::ranges::find(requests_, id, &Request::id);
    return found == requests_.end() ? nullptr : &*found;
}

void Scheduler::set_cached(RequestId id, std::uint32_t n_cached) {
    Request* const request = find(id);
    if (request == nullptr || request->is_active) return;
    request->n_held = std::min(n_cached, request->n_target - 1);
    // A page that is cached in part is copied before it is written to: it counts as a new one.
    request->n_paged = request->n_held - request->n_held % kKvPageTokens;
}

std::uint32_t Scheduler::n_active() const {
    return static_cast<std::uint32_t>(std::ranges::count_if(requests_, &Request::is_active));
}

std::uint32_t Scheduler::n_waiting() const { return static_cast<std::uint32_t>(requests_.size()) - n_active(); }

/// New pages that so many more rows take.
std::uint32_t Scheduler::pages_for(const Request& request, std::uint32_t n_rows) const {
    const std::uint32_t n = request.n_held + n_rows;
    return n <= request.n_paged ? 0 : n_kv_pages(n - request.n_paged);
}

/// Rows of the next step.
std::uint32_t Scheduler::rows_allowed(std::uint32_t n_generating) const {
    const double factor = requests_.size() < 2 ? kAlone : 1;
    const std::uint32_t in_time = rate_.rows_within(limits_.step_seconds * factor);
    return std::min(limits_.n_batch, std::max(in_time, n_generating + kLeastPromptRows));
}

/// As many rows of a prompt as it has left, at most so many, and pages allow.
void Scheduler::take(Request& request, std::uint32_t most, Room& room, StepPlan& plan) {
    const auto slice = std::ranges::find(plan.slices, request.id, &Slice::id);
    const bool begins = !request.is_active && slice == plan.slices.end();
    if (begins && room.n_sequences == 0) return;
    const std::uint32_t n_taken = slice == plan.slices.end() ? 0 : slice->n_rows;
    const std::uint32_t n_had = n_taken > 0 ? pages_for(request, n_taken) : 0;
    const std::uint64_t n_fit =
        std::uint64_t{request.n_paged} + std::uint64_t{n_had + room.n_pages} * kKvPageTokens - request.n_held - n_taken;
    const auto n =
        static_cast<std::uint32_t>(std::min<std::uint64_t>({most, room.n_rows, request.n_left() - n_taken, n_fit}));
    if (n == 0) return;
    room.n_rows -= n;
    room.n_pages -= pages_for(request, n_taken + n) - n_had;
    if (slice != plan.slices.end()) {
        slice->n_rows += n;
        slice->has_output = slice->n_rows == request.n_left();
        return;
    }
    if (begins) --room.n_sequences;
    plan.slices.push_back({request.id, n, n == request.n_left()});
}

void Scheduler::add_prompts(Room& room, StepPlan& plan) {
    std::vector<Request*> prompts;
    for (Request& request : requests_)
        if (!request.generates) prompts.push_back(&request);
    if (prompts.empty()) return;
    std::ranges::stable_sort(prompts, [](const Request* a, const Request* b) {
        return std::tuple(b->priority, a->submitted) < std::tuple(a->priority, b->submitted);
    });
    Request& oldest = *prompts.front();
    take(oldest, std::max(1u, room.n_rows / kShareOfOldest), room, plan);
    std::ranges::stable_sort(prompts, [](const Request* a, const Request* b) {
        return std::tuple(b->priority, a->n_left()) < std::tuple(a->priority, b->n_left());
    });
    for (Request* request : prompts) take(*request, room.n_rows, room, plan);
}

/// Of those with state, the one that came last among the least important. Null when there is but one.
Scheduler::Request* Scheduler::youngest() {
    Request* found = nullptr;
    if (n_active() < 2) return nullptr;
    for (Request& request : requests_) {
        if (!request.is_active) continue;
        if (found == nullptr ||
            std::tuple(found->priority, request.submitted) >= std::tuple(request.priority, found->submitted))
            found = &request;
    }
    return found;
}

void Scheduler::begin_again(Request& request) {
    request.is_active = request.generates = false;
    request.n_held = request.n_paged = 0;
}

void Scheduler::lose_state() {
    for (Request& request : requests_) begin_again(request);
}

StepPlan Scheduler::preempting(Request& request) {
    begin_again(request);
    return {.preempted = request.id, .slices = {}};
}

StepPlan Scheduler::next(std::uint32_t n_free_pages) {
    StepPlan plan;
    Room room{.n_rows = 0, .n_pages = n_free_pages, .n_sequences = limits_.n_sequences - n_active()};
    std::uint32_t n_generating = 0, n_pages = 0;
    for (const Request& request : requests_)
        if (request.generates) {
            n_pages += pages_for(request, 1);
            ++n_generating;
        }
    if (n_pages > n_free_pages) {
        Request* const last = youngest();
        return last != nullptr ? preempting(*last) : StepPlan{};
    }
    room.n_rows = rows_allowed(n_generating);
    for (const Request& request : requests_)
        if (request.generates) plan.slices.push_back({request.id, 1, true});
    room.n_rows -= n_generating;
    room.n_pages -= n_pages;
    add_prompts(room, plan);
    if (plan.slices.empty())  // prompts that hold all the pages, none of them whole
        if (Request* const last = youngest()) return preempting(*last);
    return plan;
}

void Scheduler::done(const StepPlan& plan, double seconds) {
    for (const Slice& slice : plan.slices) {
        Request* const request = find(slice.id);
        if (request == nullptr) continue;
        const std::uint32_t n_pages = pages_for(*request, slice.n_rows);
        request->is_active = true;
        request->n_held += slice.n_rows;
        request->n_paged += n_pages * kKvPageTokens;
        request->generates = slice.has_output;
        if (slice.has_output) request->n_target = request->n_held + 1;
    }
    if (plan.n_rows() > 0) rate_.add(plan.n_rows(), seconds);
}

}  // namespace lfm
