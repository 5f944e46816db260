// Decides which requests take part in each step, with how many rows. Pure logic: the clock is an argument.
//
// Requests that generate come first, a row each. Prompts share the room that is left in pieces: most of it goes to
// those with the least to compute, so that a short prompt need not wait for a long one; a part goes to the one that has
// waited longest, so that no prompt starves. A step is as long as SchedulerLimits allow; what a row costs is measured.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/service/step_rate.h"

namespace lfm {

using RequestId = std::uint64_t;

struct SchedulerLimits {
    std::uint32_t n_sequences = 1;  // that have state at once
    std::uint32_t n_batch = 512;    // rows of a step, at least n_sequences
    double step_seconds = 0.25;     // that a step should last at most while others wait for their next token
};

/// What the scheduler knows of a request.
struct RequestSize {
    std::uint32_t n_prompt = 0;  // tokens before the first output, at least 1
    std::uint32_t n_cached = 0;  // of these, found computed; the last one never counts
    int priority = 0;            // larger ones first
};

/// A request's rows in a step.
struct Slice {
    RequestId id = 0;
    std::uint32_t n_rows = 0;
    bool has_output = false;  // its last row gets logits
};

struct StepPlan {
    /// Pages lack: this request's state is to be given back, to be computed again later. No step; ask again then.
    std::optional<RequestId> preempted;
    std::vector<Slice> slices;  // those that generate first
    std::uint32_t n_rows() const;
};

class Scheduler {
public:
    /// `rate`: what steps are expected to take until some were measured.
    Scheduler(const SchedulerLimits& limits, StepRate rate) : limits_(limits), rate_(rate) {}

    void submit(RequestId id, const RequestSize& size, double now);
    /// The request has ended, or was cancelled: it takes no part any more. Unknown ids are ignored.
    void remove(RequestId id);

    /// The next step; without slices when nobody has work or none fits. `n_free_pages`: that nobody uses, or that only
    /// a cache would have to give up. A step that was planned and not run needs no undoing.
    StepPlan next(std::uint32_t n_free_pages);
    /// After the step: what it took. Requests with an output generate from then on, one token a step.
    void done(const StepPlan& plan, double seconds);
    /// So many of its tokens are found computed. Only for a request without state: after it was submitted or preempted.
    void set_cached(RequestId id, std::uint32_t n_cached);

    /// What was computed of all requests is lost: each begins again.
    void lose_state();

    std::uint32_t n_waiting() const;  // without state
    std::uint32_t n_active() const;

private:
    struct Request {
        RequestId id = 0;
        int priority = 0;
        double submitted = 0;
        std::uint32_t n_target = 0;  // tokens to hold before the next output
        std::uint32_t n_held = 0;    // computed, or found so
        std::uint32_t n_paged = 0;   // tokens that its own pages, and those it shares, have room for
        bool is_active = false;      // has state
        bool generates = false;

        std::uint32_t n_left() const { return n_target - n_held; }
    };
    struct Room {
        std::uint32_t n_rows = 0;
        std::uint32_t n_pages = 0;
        std::uint32_t n_sequences = 0;
    };

    Request* find(RequestId id);
    std::uint32_t pages_for(const Request& request, std::uint32_t n_rows) const;
    std::uint32_t rows_allowed(std::uint32_t n_generating) const;
    void take(Request& request, std::uint32_t most, Room& room, StepPlan& plan);
    void add_prompts(Room& room, StepPlan& plan);
    Request* youngest();
    StepPlan preempting(Request& request);
    static void begin_again(Request& request);

    SchedulerLimits limits_;
    StepRate rate_;
    std::vector<Request> requests_;  // by arrival
};

}  // namespace lfm
