#include "runtime/service/service.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "backends/virtual_clock.h"
#include "memory/error.h"

namespace lfm {
namespace {

/// Tokens between places in a prompt where windows of convolutions are saved; at its end they are, too. A window takes
/// as many bytes as the keys and values of 13 to 52 tokens.
constexpr std::uint32_t kSavedEvery = 256;

SchedulerLimits limits_of(const Runner& runner, const ServiceOptions& options) {
    return {.n_sequences = runner.options().n_sequences,
            .n_batch = runner.options().n_batch,
            .step_seconds = options.step_seconds};
}

}  // namespace

Service::Service(Runner& runner, const Tokenizer& tokenizer, const ServiceOptions& options)
    : runner_(runner),
      tokenizer_(tokenizer),
      cache_(runner.pool().pages(), runner.options().n_saved, runner.pool().n_replay()),
      store_(runner.pool().sizes().is_paged() ? options.store : nullptr),
      scheduler_(limits_of(runner, options), options.rate),
      n_lost_(runner.pool().n_lost()) {
    wishes_.stop = &stop_;
    wishes_.watcher = options.watcher;
    thread_ = std::thread([this] { run(); });
}

Service::~Service() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

double Service::now() const {
    if (virtual_seconds_ > 0) return virtual_seconds_;
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

RequestId Service::submit(ServiceRequest request, ServiceEvents events) {
    const SessionOptions& options = runner_.options();
    if (request.prompt.empty()) throw Error(ErrorCode::kInvalidInput, "tokens", "expected at least one, found none");
    if (request.prompt.size() > options.n_ctx)
        throw Error(ErrorCode::kContextFull, "context",
                    "expected at most " + std::to_string(options.n_ctx) + " tokens (-c), found " +
                        std::to_string(request.prompt.size()));
    const std::uint32_t n_vocab = runner_.model().hyper().n_vocab;
    for (const std::int32_t token : request.prompt)
        if (token < 0 || static_cast<std::uint32_t>(token) >= n_vocab)
            throw Error(ErrorCode::kInvalidInput, "token id",
                        "expected 0 to " + std::to_string(n_vocab - 1) + ", found " + std::to_string(token));
    validate(request.options.sampling);
    RequestId id = 0;
    {
        const std::lock_guard lock(mutex_);
        id = next_id_++;
        arrivals_.push_back({id, now(), std::move(request), std::move(events)});
        ++state_.n_waiting;
    }
    changed_.notify_all();
    return id;
}

void Service::cancel(RequestId id) {
    {
        const std::lock_guard lock(mutex_);
        cancelled_.push_back(id);
    }
    changed_.notify_all();
}

ServiceState Service::state() const {
    const std::lock_guard lock(mutex_);
    return state_;
}

Service::Active* Service::find(RequestId id) {
    const auto found = std::ranges::find(active_, id, &Active::id);
    return found == active_.end() ? nullptr : &*found;
}

void Service::run() {
    while (!stop_) try {
            if (take_arrivals()) step();
        } catch (const Error& error) {
            // After a loss pages lack, as the cache still holds those that it has lost: once more without them.
            const bool may_retry = error.code() == ErrorCode::kShortfall && n_lost_ != runner_.pool().n_lost();
            if (!stop_ && (!may_retry || std::exchange(retries_, true))) fail_all(error);
        } catch (const std::exception& error) {
            fail_all(Error(ErrorCode::kShortfall, "memory", error.what()));
        }
    fail_all(Error(ErrorCode::kInterrupted, "generation", "the service ends"));
}

/// Waits until there is work. False when there is none: the service ends, or what there was was cancelled.
bool Service::take_arrivals() {
    std::vector<Arrival> arrivals;
    std::vector<RequestId> cancelled;
    {
        std::unique_lock lock(mutex_);
        state_.n_active = scheduler_.n_active();
        state_.n_waiting = scheduler_.n_waiting() + static_cast<std::uint32_t>(arrivals_.size());
        changed_.wait(lock, [&] { return stop_ || !active_.empty() || !arrivals_.empty(); });
        arrivals = std::exchange(arrivals_, {});
        cancelled = std::exchange(cancelled_, {});
    }
    for (Arrival& arrival : arrivals) {
        Active& active = active_.emplace_back(Active{
            .id = arrival.id,
            .request = std::move(arrival.request),
            .events = std::move(arrival.events),
            .sequence = Sequence(runner_.pool(), runner_.options().n_ctx),
            .answer = {},
            .arrived = arrival.at,
        });
        active.sequence.assign(active.request.prompt);
        if (store_ != nullptr) {
            const std::uint32_t n = store_->load(active.request.prompt, active.request.scope, runner_.pool(), cache_);
            const std::lock_guard lock(mutex_);
            state_.n_loaded += n;
        }
        scheduler_.submit(active.id, {.n_prompt = active.n_left(), .n_cached = 0, .priority = active.request.priority},
                          active.arrived);
    }
    for (const RequestId id : cancelled)
        if (Active* const active = find(id)) finish(*active, EndReason::kInterrupted);
    return !stop_ && !active_.empty();
}

/// A pool that lost what it had, as a device did: nothing in the cache is true any more, and all begin again.
void Service::look_for_loss() {
    if (n_lost_ == runner_.pool().n_lost()) return;
    n_lost_ = runner_.pool().n_lost();
    cache_.clear();
    for (Active& active : active_) active.sequence.give_back();
    scheduler_.lose_state();
}

void Service::refresh_cached() {
    for (const Active& active : active_)
        if (active.sequence.pages().empty())
            scheduler_.set_cached(active.id, cache_.n_saved(active.sequence.tokens(), active.request.scope));
}

void Service::step() {
    look_for_loss();
    refresh_cached();
    const StepPlan plan = scheduler_.next(runner_.pool().pages().n_free() + cache_.n_unused());
    if (plan.preempted) {
        find(*plan.preempted)->sequence.give_back();
        const std::lock_guard lock(mutex_);
        ++state_.n_preempted;
        return;
    }
    const std::vector<Taken> taken = take(plan);
    if (taken.empty()) {
        if (plan.slices.empty()) return;
        throw Error(ErrorCode::kShortfall, "sequences",
                    "expected pages of keys and values for a step, found none free");
    }
    compute(taken);
}

/// Takes pages for the plan's slices. What the cache had to give up meanwhile may shorten or drop some.
std::vector<Service::Taken> Service::take(const StepPlan& plan) {
    std::vector<Taken> taken;
    for (const Slice& slice : plan.slices) {
        Active& active = *find(slice.id);
        const bool begins = active.sequence.pages().empty();
        if (begins && !begin(active)) continue;
        const std::uint32_t n_computed = active.sequence.n_computed();
        if (begins) scheduler_.set_cached(active.id, n_computed);
        std::uint32_t n = std::min(slice.n_rows, active.n_left());
        const bool is_prompt = !active.answer;
        if (is_prompt) n = std::min(n, kSavedEvery - n_computed % kSavedEvery);
        if (!reserve(active, n)) {
            if (begins) active.sequence.give_back();
            continue;
        }
        const bool is_whole = n == active.n_left();
        Taken& each = taken.emplace_back(Taken{&active, {active.id, n, is_whole}, {}});
        const bool is_place = is_whole || (n_computed + n) % kSavedEvery == 0;
        if (is_prompt && is_place && active.sequence.next(0, n).n_replayed < n) each.saves = cache_.take_snapshot();
    }
    return taken;
}

/// Begins where the cache has the beginning of its tokens. False when there is no room for another sequence's state.
bool Service::begin(Active& active) {
    const PrefixHit hit = cache_.find(active.sequence.tokens(), active.request.scope);
    if (hit.n_tokens > 0 && !active.sequence.begin_from(hit)) return false;
    if (!active.answer) active.n_reused = hit.n_saved();
    return true;
}

bool Service::reserve(Active& active, std::uint32_t n_rows) {
    if (active.sequence.reserve(n_rows)) return true;
    cache_.free_pages(n_kv_pages(n_rows) + 1);
    if (active.sequence.reserve(n_rows)) return true;
    // Its last page is in the cache too, and to go on it would need another.
    const auto pages = active.sequence.pages();
    return !pages.empty() && cache_.forget(pages.back()) && active.sequence.reserve(n_rows);
}

/// Returns the logits of those that have an output.
std::span<const float> Service::run_step(const std::vector<Taken>& taken) {
    std::vector<StepPart> parts;
    for (const Taken& each : taken) {
        Sequence& sequence = each.active->sequence;
        StepPart part{&sequence, sequence.tokens().subspan(sequence.n_computed(), each.slice.n_rows),
                      each.slice.has_output ? Outputs::kLast : Outputs::kNone};
        if (each.saves) part.save_to = runner_.pool().saved_row(*each.saves);
        parts.push_back(part);
    }
    try {
        return runner_.run(parts, wishes_);
    } catch (...) {
        for (const Taken& each : taken)
            if (each.saves) cache_.return_snapshot(*each.saves);
        cache_.end_step();
        throw;
    }
}

void Service::compute(const std::vector<Taken>& taken) {
    StepPlan plan;
    for (const Taken& each : taken) plan.slices.push_back(each.slice);
    const auto begin = std::chrono::steady_clock::now();
    const double paused = wishes_.paused_seconds;
    const std::span<const float> logits = run_step(taken);
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() -
                     (wishes_.paused_seconds - paused);
    if (Device* const device = runner_.model().device(); device != nullptr && device->clock() != nullptr)
        virtual_seconds_ += seconds = runner_.engine().last_times().total;
    retries_ = false;
    scheduler_.done(plan, seconds);
    cache_.end_step();
    {
        const std::lock_guard lock(mutex_);
        ++state_.n_steps;
        state_.n_rows += plan.n_rows();
        state_.busy_seconds += seconds;
    }
    const std::size_t n_vocab = runner_.model().hyper().n_vocab;
    std::size_t output = 0;
    for (const Taken& each : taken) {
        remember(each);
        if (each.slice.has_output) answer(*each.active, logits.subspan(output++ * n_vocab, n_vocab));
    }
}

/// Whole pages of prompts, and windows that were saved, for prompts that begin alike.
void Service::remember(const Taken& taken) {
    if (!taken.saves) return;
    const Sequence& sequence = taken.active->sequence;
    const std::uint32_t n = sequence.n_computed();
    cache_.add(sequence.tokens().first(n), sequence.pages().first(n_kv_pages(n)), taken.active->request.scope);
    const bool is_new = cache_.add_snapshot(*taken.saves, sequence.tokens().first(n), taken.active->request.scope);
    if (is_new && store_ != nullptr && !taken.active->answer && n == sequence.tokens().size())
        store_->store(sequence.tokens(), taken.active->request.scope, sequence.pages().first(n_kv_pages(n)),
                      *taken.saves, runner_.pool());
}

/// Chooses the next token by the last one's logits.
void Service::answer(Active& active, std::span<const float> logits) {
    if (!active.answer) {
        active.first_output = now();
        active.answer.emplace(active.request.options, tokenizer_, static_cast<std::uint32_t>(logits.size()),
                              active.sequence.tokens(), active.events.text);
        const std::lock_guard lock(mutex_);
        state_.n_reused += active.n_reused;
    }
    try {
        const auto token = active.answer->next(logits);
        if (!token) return finish(active, EndReason::kInterrupted);  // it has its reason already
        if (active.sequence.tokens().size() == runner_.options().n_ctx) return finish(active, EndReason::kContextFull);
        active.sequence.append(*token);
    } catch (const Error& error) {
        fail(active, error);
    } catch (const std::exception& error) {
        fail(active, Error(ErrorCode::kIo, "answer", error.what()));
    }
}

void Service::finish(Active& active, EndReason reason) {
    Generation generation;
    generation.end = reason;
    try {
        if (active.answer) {
            active.answer->end(reason);
            generation = std::move(active.answer->generation());
            generation.stats.n_prompt = static_cast<std::uint32_t>(active.request.prompt.size());
            generation.stats.n_reused = active.n_reused;
            generation.stats.prompt_seconds = active.first_output - active.arrived;
            generation.stats.generation_seconds = now() - active.first_output;
        }
    } catch (const Error& error) {  // of the text's sink
        return fail(active, error);
    } catch (const std::exception& error) {
        return fail(active, Error(ErrorCode::kIo, "answer", error.what()));
    }
    const std::uint32_t n = active.sequence.n_computed();
    // Without a pool of pages the next sequence writes over what this one had: there is nothing to share.
    if (n > 0 && !active.sequence.pages().empty() && runner_.pool().sizes().is_paged())
        cache_.add(active.sequence.tokens().first(n), active.sequence.pages().first(n_kv_pages(n)),
                   active.request.scope);
    const auto done = std::move(active.events.done);
    remove(active);
    if (done) done(std::move(generation));
}

void Service::fail(Active& active, const Error& error) {
    const auto failed = std::move(active.events.failed);
    remove(active);
    if (failed) failed(error);
}

void Service::fail_all(const Error& error) {
    while (!active_.empty()) fail(active_.front(), error);
    std::vector<Arrival> arrivals;
    {
        const std::lock_guard lock(mutex_);
        arrivals = std::exchange(arrivals_, {});
    }
    for (const Arrival& arrival : arrivals)
        if (arrival.events.failed) arrival.events.failed(error);
}

void Service::remove(Active& active) {
    scheduler_.remove(active.id);
    active_.remove_if([&](const Active& each) { return &each == &active; });
}

}  // namespace lfm
