// Many requests on one model: a queue, the scheduler, the runner, and an answer for each, on one thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "runtime/service/scheduler.h"
#include "runtime/session/answer.h"
#include "runtime/state/prefix_cache.h"
#include "runtime/state/prompt_store.h"
#include "runtime/step/runner.h"

namespace lfm {

struct ServiceRequest {
    std::vector<std::int32_t> prompt;  // not empty
    GenerationOptions options;
    int priority = 0;         // larger ones first
    std::uint64_t scope = 0;  // prompts of different scopes share no cached prefix
};

/// Called on the service's thread, which computes nothing meanwhile: they should return soon. Either `done` or `failed`
/// is called, once, last; neither may throw. What `text` throws ends the request as failed.
struct ServiceEvents {
    SegmentSink text;  // may be empty
    std::function<void(Generation generation)> done;
    std::function<void(const Error& error)> failed;
};

struct ServiceOptions {
    double step_seconds = 0.25;  // SchedulerLimits
    StepRate rate{0, 0.01};      // what steps are expected to take until some were measured
    StepWatcher* watcher = nullptr;
    PromptStore* store = nullptr;  // outlives the service, which alone uses it; null: prefixes end with it
};

struct ServiceState {
    std::uint32_t n_waiting = 0, n_active = 0;
    std::uint64_t n_steps = 0, n_rows = 0, n_preempted = 0;
    std::uint64_t n_reused = 0;  // prompt tokens that the cache had, those from the store included
    std::uint64_t n_loaded = 0;  // tokens that the store brought
    double busy_seconds = 0;     // of steps, by the runner's clock
};

class Service {
public:
    /// All outlive it. Nobody else runs steps on the runner meanwhile.
    Service(Runner& runner, const Tokenizer& tokenizer, const ServiceOptions& options);
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;
    /// Requests that have not ended fail with Error{kInterrupted}.
    ~Service();

    /// Throws Error{kContextFull} for a prompt that is longer than the context, Error{kInvalidInput} for an empty
    /// one or an unknown token, Error{kUsage} for sampling values out of range.
    RequestId submit(ServiceRequest request, ServiceEvents events);
    /// It ends after the present step with what it has, as interrupted. Unknown ids are ignored.
    void cancel(RequestId id);
    ServiceState state() const;

private:
    struct Arrival {
        RequestId id = 0;
        double at = 0;
        ServiceRequest request;
        ServiceEvents events;
    };
    /// A request that has arrived.
    struct Active {
        RequestId id;
        ServiceRequest request;
        ServiceEvents events;
        Sequence sequence;             // its tokens: the prompt, then those chosen
        std::optional<Answer> answer;  // once the prompt is computed

        std::uint32_t n_left() const {
            return static_cast<std::uint32_t>(sequence.tokens().size()) - sequence.n_computed();
        }
        double arrived = 0, first_output = 0;
        std::uint32_t n_reused = 0;
    };
    /// A slice as it is run.
    struct Taken {
        Active* active = nullptr;
        Slice slice;
        std::optional<SnapshotId> saves;
    };

    void run();
    bool take_arrivals();
    void look_for_loss();
    void refresh_cached();
    void step();
    std::vector<Taken> take(const StepPlan& plan);
    bool begin(Active& active);
    bool reserve(Active& active, std::uint32_t n_rows);
    void compute(const std::vector<Taken>& taken);
    std::span<const float> run_step(const std::vector<Taken>& taken);
    void remember(const Taken& taken);
    void answer(Active& active, std::span<const float> logits);
    void finish(Active& active, EndReason reason);
    void fail(Active& active, const Error& error);
    void fail_all(const Error& error);
    void remove(Active& active);
    Active* find(RequestId id);
    double now() const;

    Runner& runner_;
    const Tokenizer& tokenizer_;
    PrefixCache cache_;
    PromptStore* const store_;
    Scheduler scheduler_;
    StepWishes wishes_;
    std::atomic<bool> stop_{false};
    std::list<Active> active_;
    std::uint64_t n_lost_ = 0;                // StatePool::n_lost, as far as it was noticed
    bool retries_ = false;                    // the last step failed as a loss came
    std::atomic<double> virtual_seconds_{0};  // of a simulated machine's steps

    mutable std::mutex mutex_;  // of what follows
    std::condition_variable changed_;
    std::vector<Arrival> arrivals_;
    std::vector<RequestId> cancelled_;
    RequestId next_id_ = 1;
    ServiceState state_;

    std::thread thread_;  // the last member: it uses the others
};
}  // namespace lfm
