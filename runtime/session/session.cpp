#include "runtime/session/session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>

#include "memory/error.h"

namespace lfm {
namespace {

const SessionOptions& checked(const SessionOptions& options) {
    const auto require = [](bool fine, const char* option, const std::string& expected, std::uint64_t found) {
        if (!fine) throw Error(ErrorCode::kUsage, option, "expected " + expected + ", found " + std::to_string(found));
    };
    constexpr std::uint32_t kMaxThreads = 1024;
    require(options.n_ctx >= 1 && options.n_ctx <= 1u << 30, "--ctx-size", "1 to 2^30 tokens", options.n_ctx);
    require(options.n_batch >= 1 && options.n_batch <= 1u << 16, "--batch-size", "1 to 65536 tokens", options.n_batch);
    require(options.n_outputs >= 1 && options.n_outputs <= options.n_batch, "n_outputs", "1 to the batch size",
            options.n_outputs);
    require(options.n_threads >= 1 && options.n_threads <= kMaxThreads, "--threads", "1 to 1024", options.n_threads);
    return options;
}

struct ParamArrays {
    std::int32_t* token_ids;
    float* rope;
    std::int32_t* forced;
};

ParamArrays carve_params(Carver& carver, const HyperParameters& hyper, std::size_t n_batch) {
    const std::size_t n_moe_layer = hyper.n_layer - hyper.n_layer_dense;
    return {carver.take<std::int32_t>(n_batch), carver.take<float>(n_batch * hyper.head_dim),
            carver.take<std::int32_t>(n_moe_layer * n_batch * hyper.n_expert_used)};
}

}  // namespace

Session::Session(const Model& model, const SessionOptions& options, Ledger& ledger)
    : model_(model),
      options_(checked(options)),
      ledger_(ledger),
      engine_options_{.sizes = {options.n_ctx, options.n_batch, options.n_outputs, options.kv},
                      .n_threads = options.n_threads,
                      .kernels = options.kernels,
                      .expert_times = options.expert_times,
                      .adaptation = options.adaptation,
                      .trace = options.trace} {
    const HyperParameters& hyper = model.hyper();
    Carver measuring;
    carve_params(measuring, hyper, options.n_batch);
    params_buffer_ = HostBuffer(ledger, Purpose::kActivations, measuring.used());
    Carver carver(params_buffer_.bytes());
    const ParamArrays arrays = carve_params(carver, hyper, options.n_batch);
    token_ids_ = arrays.token_ids;
    rope_ = arrays.rope;
    forced_ = arrays.forced;
    params_.token_ids = token_ids_;
    params_.rope = rope_;
    for (std::uint32_t i = 0; i < hyper.head_dim / 2; ++i)
        frequencies_.push_back(std::pow(double{hyper.rope_freq_base}, -2.0 * i / hyper.head_dim));

    make_engine(model.plan(), model.weights(), model.device());
    before_step_ = engine_->state().checkpoint();
    history_.tokens.reserve(options.n_ctx);
}

void Session::make_engine(const Plan& plan, const Weights& weights, Device* device) {
    engine_.reset();
    engine_ = std::make_unique<Engine>(Engine::Inputs{model_.hyper(), plan, weights, device, engine_options_, params_},
                                       ledger_);
}

SessionHistory Session::take_history() {
    engine_.reset();
    return std::move(history_);
}

void Session::continue_from(SessionHistory history) {
    engine_->state().reset();
    history_ = std::move(history);
    history_.tokens.reserve(options_.n_ctx);
}

/// A lost device takes the sequence's state along. May be called again should the first attempt find no memory.
void Session::go_on_with_host(const Error& loss) {
    if (!loss_) loss_ = loss.what();
    engine_.reset();
    if (!host_plan_) host_plan_ = make_host_plan(model_.description(), engine_options_.sizes);
    if (!host_weights_) host_weights_.emplace(model_.description(), *host_plan_, model_.data(), ledger_, nullptr);
    make_engine(*host_plan_, *host_weights_, nullptr);
}

/// Computes what the log has and the state lacks.
void Session::catch_up() {
    while (engine_->state().position() < history_.tokens.size()) {
        const std::size_t first = engine_->state().position();
        run_watched(std::span(history_.tokens)
                        .subspan(first, std::min<std::size_t>(options_.n_batch, history_.tokens.size() - first)),
                    Outputs::kLast);
    }
}

template <typename Act>
void Session::with_recovery(const Act& act) {
    if (file_error_) throw *file_error_;
    if (engine_ != nullptr) try {
            return act();
        } catch (const Error& error) {
            if (error.code() != ErrorCode::kDeviceLost || loss_ || options_.after_loss == AfterLoss::kThrow) throw;
            go_on_with_host(error);
        }
    else
        go_on_with_host(Error(ErrorCode::kDeviceLost, "device", "lost before"));
    act();
}

void Session::check(std::span<const std::int32_t> tokens) const {
    if (tokens.empty()) throw Error(ErrorCode::kInvalidInput, "tokens", "expected at least one, found none");
    if (tokens.size() > n_ctx() - position())
        throw Error(ErrorCode::kContextFull, "context",
                    "expected at most " + std::to_string(n_ctx()) + " tokens (-c), found " +
                        std::to_string(position() + tokens.size()));
    for (const std::int32_t token : tokens)
        if (token < 0 || static_cast<std::uint32_t>(token) >= n_vocab())
            throw Error(ErrorCode::kInvalidInput, "token id",
                        "expected 0 to " + std::to_string(n_vocab() - 1) + ", found " + std::to_string(token));
}

void Session::write_params(std::span<const std::int32_t> tokens, Outputs outputs) {
    const HyperParameters& hyper = model_.hyper();
    const std::uint32_t half = hyper.head_dim / 2;
    params_.n_tokens = static_cast<std::uint32_t>(tokens.size());
    params_.position = engine_->state().position();
    params_.n_outputs = outputs == Outputs::kAll ? params_.n_tokens : 1;
    std::ranges::copy(tokens, token_ids_);
    for (std::uint32_t t = 0; t < params_.n_tokens; ++t)
        for (std::uint32_t i = 0; i < half; ++i) {
            const double angle = (params_.position + t) * frequencies_[i];
            rope_[std::size_t{t} * hyper.head_dim + i] = static_cast<float>(std::cos(angle));
            rope_[std::size_t{t} * hyper.head_dim + half + i] = static_cast<float>(std::sin(angle));
        }
    params_.forced_experts = nullptr;
    if (!history_.expert_source) return;
    std::int32_t* next = forced_;
    for (std::uint32_t layer = 0; layer < hyper.n_layer - hyper.n_layer_dense; ++layer)
        for (std::uint32_t t = 0; t < params_.n_tokens; ++t)
            for (std::uint32_t j = 0; j < hyper.n_expert_used; ++j) {
                *next = history_.expert_source(layer, params_.position + t, j);
                if (*next < 0 || static_cast<std::uint32_t>(*next) >= hyper.n_expert)
                    throw Error(
                        ErrorCode::kInvalidInput, "forced expert",
                        "expected 0 to " + std::to_string(hyper.n_expert - 1) + ", found " + std::to_string(*next));
                ++next;
            }
    params_.forced_experts = forced_;
}

void Session::step(std::span<const std::int32_t> tokens, Outputs outputs) {
    with_recovery([&] {
        catch_up();
        run_watched(tokens, outputs);
    });
    history_.tokens.insert(history_.tokens.end(), tokens.begin(), tokens.end());
}

/// After the weights were read. The state may have been computed with others than the model's: there is no way back.
void Session::require_file() {
    file_error_ = model_.file_error();
    if (file_error_) throw *file_error_;
}

/// A device that gives no numbers is as good as lost: the host shows whether it was the model.
void Session::check_logits() const {
    if (loss_ || model_.device() == nullptr) return;
    if (VirtualClock* const clock = model_.device()->clock(); clock != nullptr && !clock->computes()) return;
    const float* logits = engine_->rows().logits.data;
    const std::size_t n = std::size_t{params_.n_outputs} * n_vocab();
    for (std::size_t i = 0; i < n; ++i)
        if (!std::isfinite(logits[i]))
            throw Error(ErrorCode::kDeviceLost, std::string(model_.device()->name()),
                        "expected finite logits, found " + std::to_string(logits[i]));
}

void Session::run_watched(std::span<const std::int32_t> tokens, Outputs outputs) {
    if (history_.watcher == nullptr) return run_step(tokens, outputs);
    using Clock = std::chrono::steady_clock;
    struct Watch {
        Watch(StepWatcher& watcher, double& seconds) : watcher(watcher), seconds(seconds) { watcher.step_begins(); }
        ~Watch() {
            const auto ended = Clock::now();
            watcher.step_ends();
            seconds += std::chrono::duration<double>(Clock::now() - ended).count();
        }
        StepWatcher& watcher;
        double& seconds;
    };
    const Watch watch(*history_.watcher, history_.paused_seconds);
    run_step(tokens, outputs);
}

void Session::run_step(std::span<const std::int32_t> tokens, Outputs outputs) {
    if (history_.stop != nullptr && history_.stop->load(std::memory_order_relaxed))
        throw Error(ErrorCode::kInterrupted, "generation", "stopped on request");
    write_params(tokens, outputs);
    // A short step ends soon by itself; only long ones are worth interrupting, and then the conv state must be put
    // back.
    constexpr std::size_t kLongStep = 4;
    const bool interruptible = history_.stop != nullptr && tokens.size() >= kLongStep;
    if (interruptible) engine_->state().checkpoint_into(before_step_);
    try {
        engine_->run(interruptible ? history_.stop : nullptr);
    } catch (const Error& error) {
        require_file();
        if (interruptible && error.code() != ErrorCode::kDeviceLost) engine_->state().restore(before_step_);
        throw;
    }
    require_file();
    check_logits();
    engine_->state().advance(params_.n_tokens);
}

std::span<const float> Session::append(std::span<const std::int32_t> tokens) {
    check(tokens);
    for (std::size_t first = 0; first < tokens.size(); first += options_.n_batch)
        step(tokens.subspan(first, std::min<std::size_t>(options_.n_batch, tokens.size() - first)), Outputs::kLast);
    return {engine_->rows().logits.data, n_vocab()};
}

void Session::append_all(std::span<const std::int32_t> tokens, const LogitsSink& sink) {
    check(tokens);
    for (std::size_t first = 0; first < tokens.size(); first += options_.n_outputs) {
        const auto part = tokens.subspan(first, std::min<std::size_t>(options_.n_outputs, tokens.size() - first));
        step(part, Outputs::kAll);
        sink(first, {engine_->rows().logits.data, part.size() * n_vocab()});
    }
}

void Session::reset() {
    if (engine_ != nullptr) engine_->state().reset();
    history_.tokens.clear();
}

Checkpoint Session::checkpoint() {
    Checkpoint checkpoint;
    with_recovery([&] {
        catch_up();
        checkpoint = engine_->state().checkpoint();
    });
    return checkpoint;
}

void Session::restore(const Checkpoint& checkpoint) {
    if (checkpoint.position > history_.tokens.size())
        throw Error(ErrorCode::kInvalidInput, "checkpoint",
                    "expected a position up to " + std::to_string(history_.tokens.size()) + ", found " +
                        std::to_string(checkpoint.position));
    history_.tokens.resize(checkpoint.position);
    // After a loss the state is computed anew, as keys and values before the checkpoint are gone too.
    with_recovery([&] {
        if (engine_->state().position() >= checkpoint.position)
            engine_->state().restore(checkpoint);
        else
            catch_up();
    });
}

std::span<const std::int32_t> Session::last_experts(std::uint32_t moe_layer) const {
    return {engine_->rows().choices[moe_layer].ids, std::size_t{params_.n_tokens} * model_.hyper().n_expert_used};
}

}  // namespace lfm
