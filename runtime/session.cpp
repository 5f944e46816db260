#include "runtime/session.h"

#include <algorithm>
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

/// Takes any program and does nothing.
class IdleBackend final : public Backend {
public:
    std::string_view name() const override { return "idle"; }
    bool supports(DType) const override { return true; }
    ProgramId record(std::span<const Operation>, const StepParams&) override { return {}; }
    void submit(ProgramId) override {}
    void wait() override {}
};

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
      state_(model.hyper(), options.kv, options.n_ctx, {model.plan().layers, model.device()}, ledger),
      residency_(model.plan(), model.weights(), model.device()),
      staging_(model.plan(), model.weights(), model.device()),
      rows_(model.hyper(), {options.n_batch, options.n_outputs}, staging_.layout().n_rounds(), model.device(), ledger) {
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

    if (options.host_arithmetic == Arithmetic::kSkip)
        cpu_ = std::make_unique<IdleBackend>();
    else
        cpu_ = cpu::make_cpu_backend({.kernels = options.kernels,
                                      .n_threads = options.n_threads,
                                      .limits = {.n_batch = options.n_batch, .n_ctx = options.n_ctx}},
                                     ledger);
    make_executor();
    before_step_ = state_.checkpoint();
    tokens_.reserve(options.n_ctx);
}

void Session::make_executor() {
    const Plan& plan = model_.plan();
    ExecutorInputs inputs{.program = make_layer_program({model_.hyper(), plan, model_.weights(), state_, rows_,
                                                         staging_.layout(), residency_.table()}),
                          .host = *cpu_,
                          .params = params_,
                          .n_threads = options_.n_threads};
    if (model_.device() != nullptr) {
        streams_.emplace(
            ExpertStreams::Inputs{plan, model_.weights(), residency_.table(), staging_, rows_, options_.expert_times});
        inputs.beside = {.device = model_.device(), .streams = &*streams_};
        if (options_.host_seconds)
            inputs.beside.host_seconds = [this](std::span<const Operation> operations) {
                return options_.host_seconds(operations, params_);
            };
    }
    executor_ = std::make_unique<Executor>(std::move(inputs));
}

void Session::check(std::span<const std::int32_t> tokens) const {
    if (tokens.empty()) throw Error(ErrorCode::kInvalidInput, "tokens", "expected at least one, found none");
    if (tokens.size() > state_.n_ctx() - state_.position())
        throw Error(ErrorCode::kContextFull, "context",
                    "expected at most " + std::to_string(state_.n_ctx()) + " tokens (-c), found " +
                        std::to_string(state_.position() + tokens.size()));
    for (const std::int32_t token : tokens)
        if (token < 0 || static_cast<std::uint32_t>(token) >= n_vocab())
            throw Error(ErrorCode::kInvalidInput, "token id",
                        "expected 0 to " + std::to_string(n_vocab() - 1) + ", found " + std::to_string(token));
}

void Session::write_params(std::span<const std::int32_t> tokens, Outputs outputs) {
    const HyperParameters& hyper = model_.hyper();
    const std::uint32_t half = hyper.head_dim / 2;
    params_.n_tokens = static_cast<std::uint32_t>(tokens.size());
    params_.position = state_.position();
    params_.n_outputs = outputs == Outputs::kAll ? params_.n_tokens : 1;
    std::ranges::copy(tokens, token_ids_);
    for (std::uint32_t t = 0; t < params_.n_tokens; ++t)
        for (std::uint32_t i = 0; i < half; ++i) {
            const double angle = (params_.position + t) * frequencies_[i];
            rope_[std::size_t{t} * hyper.head_dim + i] = static_cast<float>(std::cos(angle));
            rope_[std::size_t{t} * hyper.head_dim + half + i] = static_cast<float>(std::sin(angle));
        }
    params_.forced_experts = nullptr;
    if (!expert_source_) return;
    std::int32_t* next = forced_;
    for (std::uint32_t layer = 0; layer < hyper.n_layer - hyper.n_layer_dense; ++layer)
        for (std::uint32_t t = 0; t < params_.n_tokens; ++t)
            for (std::uint32_t j = 0; j < hyper.n_expert_used; ++j) {
                *next = expert_source_(layer, params_.position + t, j);
                if (*next < 0 || static_cast<std::uint32_t>(*next) >= hyper.n_expert)
                    throw Error(
                        ErrorCode::kInvalidInput, "forced expert",
                        "expected 0 to " + std::to_string(hyper.n_expert - 1) + ", found " + std::to_string(*next));
                ++next;
            }
    params_.forced_experts = forced_;
}

void Session::step(std::span<const std::int32_t> tokens, Outputs outputs) {
    if (stop_ != nullptr && stop_->load(std::memory_order_relaxed))
        throw Error(ErrorCode::kInterrupted, "generation", "stopped on request");
    write_params(tokens, outputs);
    // A short step ends soon by itself; only long ones are worth interrupting, and then the conv state must be put
    // back.
    constexpr std::size_t kLongStep = 4;
    const bool interruptible = stop_ != nullptr && tokens.size() >= kLongStep;
    if (interruptible) state_.checkpoint_into(before_step_);
    try {
        executor_->run(interruptible ? stop_ : nullptr);
    } catch (const Error&) {
        if (interruptible) state_.restore(before_step_);
        throw;
    }
    state_.advance(params_.n_tokens);
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
}

std::span<const float> Session::append(std::span<const std::int32_t> tokens) {
    check(tokens);
    for (std::size_t first = 0; first < tokens.size(); first += options_.n_batch)
        step(tokens.subspan(first, std::min<std::size_t>(options_.n_batch, tokens.size() - first)), Outputs::kLast);
    return {rows_.host().logits.data, n_vocab()};
}

void Session::append_all(std::span<const std::int32_t> tokens, const LogitsSink& sink) {
    check(tokens);
    for (std::size_t first = 0; first < tokens.size(); first += options_.n_outputs) {
        const auto part = tokens.subspan(first, std::min<std::size_t>(options_.n_outputs, tokens.size() - first));
        step(part, Outputs::kAll);
        sink(first, {rows_.host().logits.data, part.size() * n_vocab()});
    }
}

void Session::reset() {
    state_.reset();
    tokens_.clear();
}

void Session::restore(const Checkpoint& checkpoint) {
    if (checkpoint.position > tokens_.size())
        throw Error(ErrorCode::kInvalidInput, "checkpoint",
                    "expected a position up to " + std::to_string(tokens_.size()) + ", found " +
                        std::to_string(checkpoint.position));
    state_.restore(checkpoint);
    tokens_.resize(checkpoint.position);
}

std::span<const std::int32_t> Session::last_experts(std::uint32_t moe_layer) const {
    return {rows_.host().choices[moe_layer].ids, std::size_t{params_.n_tokens} * model_.hyper().n_expert_used};
}

}  // namespace lfm
