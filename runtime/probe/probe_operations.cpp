#include "runtime/probe/probe_operations.h"

#include <algorithm>
#include <utility>

#include "memory/host_buffer.h"
#include "runtime/tensors/random_weights.h"

namespace lfm {
namespace {

// Sizes of the larger LFM2 models.
constexpr std::uint32_t kWidth = 2048;  // n_embd
constexpr std::uint32_t kHeads = 32, kKvHeads = 8, kHeadDim = 64;
constexpr std::uint32_t kGemmRows = 2048, kMostGemmRows = 8192;
constexpr std::uint32_t kMostCaches = 4, kMostTimes = 32;
// What a device gets at least, when its usual piece of work takes longer than a sample should.
constexpr std::uint32_t kFewRows = 1024, kFewPositions = 2048;
constexpr double kSlow = 4;  // times a sample's length: attention over a long context is worth that
constexpr std::size_t kPositionBytes = std::size_t{2} * kKvHeads * kHeadDim * 2;  // key and value in f16

constexpr std::uint32_t kRowStep = 64;                      // rows come in multiples: no kernel has a remainder
constexpr std::size_t kMatrixBytes = std::size_t{8} << 20;  // about [2048 → 7168] in Q4_0, an FFN matrix of LFM2-8B
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;   // random weights that are written again and again
constexpr int kLayers = 24;
constexpr std::uint32_t kSmallRows = 256, kSmallWidth = 64;  // the least that a thread takes of a small matmul

std::uint32_t to_step(double rows, std::uint32_t least, std::uint32_t most) {
    const auto steps = static_cast<std::uint32_t>(std::min(rows, 1e9)) / kRowStep * kRowStep;
    return std::clamp(steps, std::min(least, most), most);
}

std::vector<std::byte> random_rows(DType type, std::uint32_t n_rows) {
    return random_matrix(type, kWidth, n_rows, static_cast<std::uint64_t>(type) + 1);
}

}  // namespace

ProbeOperations::ProbeOperations(const ProbeOperationsSetup& setup)
    : setup_(setup), one_token_{.n_tokens = 1}, batch_{.n_tokens = kProbeLimits.n_batch} {
    for (const DType type : setup.types) weights_[type] = {.type = type, .row_bytes = row_bytes(type, kWidth)};
    lay_out();
    for (auto& [type, weights] : weights_) fill(weights);
    fill_cache();
    for (auto& [type, weights] : weights_) record_matvec(weights), record_gemm(weights);
    record_attention();
    record_layers();
}

ProbeOperations::~ProbeOperations() = default;

void ProbeOperations::lay_out() {
    const std::uint64_t n_fitting = setup_.memory / 4 / kPositionBytes;
    n_positions_ = to_step(static_cast<double>(n_fitting), kRowStep, kProbeLimits.n_ctx);
    n_attended_ = n_positions_;
    last_token_ = {.n_tokens = 1, .sequences = {&last_of_, 1}};
    last_of_ = {.n_rows = 1, .position = n_positions_ - 1};
    if (on_device()) {
        const std::size_t caches = setup_.memory / 4 / (n_positions_ * kPositionBytes);
        n_caches_ = static_cast<std::uint32_t>(std::clamp<std::size_t>(caches, 1, kMostCaches));
    }
    const std::size_t cache_bytes = n_caches_ * n_positions_ * kPositionBytes;
    const std::size_t share = (setup_.memory - std::min(cache_bytes, setup_.memory)) / weights_.size();
    // With many tokens a thread takes at least 64 rows at once: enough for every thread, up to kMostGemmRows.
    const std::uint32_t least_gemm = std::min(kRowStep * setup_.n_threads, kMostGemmRows);
    largest_gemm_ = std::max(kGemmRows, least_gemm);
    for (auto& [type, weights] : weights_) {
        const auto rows = static_cast<double>(share) / static_cast<double>(weights.row_bytes);
        weights.n_rows = to_step(rows, least_gemm, 1u << 30);
    }
    const auto carve = [&](Carver& carver) {
        for (auto& [type, weights] : weights_)
            weights.data = carver.take<std::byte>(weights.row_bytes * weights.n_rows);
        cache_ = carver.take<std::byte>(cache_bytes);
        const std::size_t big = carver.used();
        x_ = carver.take<float>(std::size_t{kProbeLimits.n_batch} * kWidth);
        // More than the product of any matvec matrix needs.
        y_ = carver.take<float>(std::size_t{kProbeLimits.n_batch} * largest_gemm_);
        normed_ = carver.take<float>(kWidth);
        norm_ = carver.take<float>(kWidth);
        return big;
    };
    Carver measuring;
    const std::size_t big = carve(measuring);
    std::byte* const begin = setup_.place.take(measuring.used());
    Carver carver({begin, measuring.used()});
    carve(carver);
    memory_ = {begin, big};

    const std::vector<std::byte> rows = random_rows(DType::kF32, kProbeLimits.n_batch);
    setup_.place.write(reinterpret_cast<std::byte*>(x_), rows);
    setup_.place.write(reinterpret_cast<std::byte*>(norm_), std::span(rows).first(kWidth * sizeof(float)));
}

void ProbeOperations::report(std::size_t done) {
    check_stop(setup_.stop);
    if (setup_.progress) setup_.progress(static_cast<double>(done) / static_cast<double>(memory_.size()));
}

void ProbeOperations::fill(Weights& weights) {
    const auto piece_rows = static_cast<std::uint32_t>(kPieceBytes / weights.row_bytes);
    const std::vector<std::byte> piece = random_rows(weights.type, std::min(piece_rows, weights.n_rows));
    const std::size_t size = weights.row_bytes * weights.n_rows;
    for (std::size_t at = 0; at < size; at += piece.size()) {
        setup_.place.write(weights.data + at, std::span(piece).first(std::min(piece.size(), size - at)));
        report(static_cast<std::size_t>(weights.data - memory_.data()) + at);
    }
}

void ProbeOperations::fill_cache() {
    const std::vector<std::byte> piece = random_rows(DType::kF16, kPieceBytes / row_bytes(DType::kF16, kWidth));
    const std::size_t size = n_caches_ * n_positions_ * kPositionBytes;
    for (std::size_t at = 0; at < size; at += piece.size()) {
        setup_.place.write(cache_ + at, std::span(piece).first(std::min(piece.size(), size - at)));
        report(static_cast<std::size_t>(cache_ - memory_.data()) + at);
    }
}

WeightView ProbeOperations::matrix(const Weights& weights, std::uint32_t first, std::uint32_t n_rows) const {
    return {weights.data + first * weights.row_bytes, weights.type, n_rows, kWidth, weights.row_bytes};
}

MatmulArgs ProbeOperations::multiply(RowsView x, const WeightView& weight) const {
    return {.x = x, .outputs = {MatmulOutput{weight, {y_, weight.n_out}}}, .n_outputs = 1};
}

/// When the place is a device, the stages run there: they are enqueued, a step at a time, as a model's are.
std::unique_ptr<Executor> ProbeOperations::make_executor(std::vector<Stage> program, const StepParams& params) {
    if (on_device())
        for (Stage& stage : program) stage.device = setup_.place.device()->id();
    return std::make_unique<Executor>(ExecutorInputs{.program = std::move(program),
                                                     .host = setup_.place.backend(),
                                                     .beside = {.device = setup_.place.device()},
                                                     .params = params,
                                                     .n_threads = setup_.n_threads});
}

void ProbeOperations::record_matvec(Weights& weights) {
    const std::uint64_t n_fitting = kMatrixBytes / weights.row_bytes;
    const std::uint32_t most = to_step(static_cast<double>(n_fitting), kRowStep, weights.n_rows);
    const auto record = [&](std::uint32_t n_rows) {
        weights.matvec_rows = n_rows;
        Stage segment{.name = "matvec"};
        for (std::uint32_t done = 0, n = 0; done < n_rows; done += n) {
            const std::uint32_t first = done % weights.n_rows;
            n = std::min({most, n_rows - done, weights.n_rows - first});
            segment.operations.push_back(multiply({x_, kWidth}, matrix(weights, first, n)));
        }
        weights.matvec = make_executor({segment}, one_token_);
    };
    record(most);
    weights.matvec->run(setup_.stop);  // wakes the threads
    const double seconds = seconds_of([&] { weights.matvec->run(setup_.stop); });
    if (!on_device()) {
        record(to_step(most * setup_.longest_sample / seconds, most, weights.n_rows));
        return;
    }
    const std::uint32_t most_rows = std::min(weights.n_rows, (1u << 30) / kMostTimes) * kMostTimes;
    record(to_step(most * setup_.longest_sample / seconds, std::min(kFewRows, most), most_rows));
}

void ProbeOperations::record_gemm(Weights& weights) {
    const auto record = [&](std::uint32_t n_rows, std::uint32_t times) {
        weights.gemm_rows = n_rows * times;
        const std::vector<Operation> operations(times, multiply({x_, kWidth}, matrix(weights, 0, n_rows)));
        weights.gemm = make_executor({{.name = "gemm", .operations = operations}}, batch_);
    };
    const std::uint32_t least = std::min({kRowStep * setup_.n_threads, kMostGemmRows, weights.n_rows});
    record(least, 1);
    if (on_device()) weights.gemm->run(setup_.stop);  // the first run is slower
    const double seconds = seconds_of([&] { weights.gemm->run(setup_.stop); });
    const std::uint32_t n_rows =
        to_step(least * setup_.longest_sample / seconds, least, std::min(largest_gemm_, weights.n_rows));
    if (n_rows != least) record(n_rows, 1);
    if (!on_device()) return;
    const std::uint32_t times = times_for(seconds_of([&] { weights.gemm->run(setup_.stop); }));
    if (times > 1) record(n_rows, times);
}

std::unique_ptr<Executor> ProbeOperations::make_attention(std::uint32_t times) {
    Stage stage{.name = "attention"};
    for (std::uint32_t i = 0; i < times; ++i) {
        std::byte* const keys = cache_ + i % n_caches_ * n_positions_ * kPositionBytes;
        const KvView cache{
            .k = keys, .v = keys + n_positions_ * kPositionBytes / 2, .n_head_kv = kKvHeads, .head_dim = kHeadDim};
        stage.operations.push_back(
            AttentionArgs{.q = {x_, kHeads * kHeadDim}, .cache = cache, .out = {y_, kHeads * kHeadDim}});
    }
    attention_times_ = times;
    return make_executor({stage}, last_token_);
}

void ProbeOperations::record_attention() {
    attention_ = make_attention(1);
    if (!on_device()) return;
    const auto run_with = [&](std::uint32_t n_positions) {
        n_attended_ = n_positions;
        last_of_.position = n_positions - 1;
        return seconds_of([&] { attention_->run(setup_.stop); });
    };
    run_with(kRowStep);  // the first run is slower
    const std::uint32_t some = std::min(kFewPositions, n_positions_);
    n_attended_ = to_step(some * kSlow * setup_.longest_sample / run_with(some), some, n_positions_);
    const std::uint32_t times = times_for(run_with(n_attended_));
    if (times > 1) attention_ = make_attention(times);
}

std::uint32_t ProbeOperations::times_for(double seconds) const {
    return static_cast<std::uint32_t>(std::clamp(setup_.longest_sample / seconds, 1.0, 1.0 * kMostTimes));
}

void ProbeOperations::record_layers() {
    const RowsView x{x_, kWidth}, normed{normed_, kWidth}, y{y_, kWidth};
    const RmsNormArgs norm{.x = x, .weight = norm_, .eps = 1e-5f, .out = normed};
    const auto q4_0 = weights_.find(DType::kQ4_0);
    const Weights& weights = (q4_0 != weights_.end() ? q4_0 : weights_.begin())->second;
    const std::uint32_t width = std::max(kSmallWidth, dtype_info(weights.type).block_size);
    const MatmulArgs matmul = multiply({normed_, width}, {.data = weights.data,  // blocks make rows of any length
                                                          .type = weights.type,
                                                          .n_out = kSmallRows * setup_.n_threads,
                                                          .n_in = width,
                                                          .row_bytes = row_bytes(weights.type, width)});
    const AddArgs add{.a = x, .b = normed, .out = y};
    std::vector<Stage> program;
    program.reserve(kLayers);
    for (int layer = 0; layer < kLayers; ++layer)
        program.push_back({.name = "layer", .operations = {norm, matmul, matmul, add, norm, matmul, matmul, add}});
    layers_ = make_executor(std::move(program), one_token_);
    if (!on_device()) return;
    layers_->run(setup_.stop);  // the first run is slower
    layers_times_ = std::min(layers_times_, times_for(seconds_of([&] { layers_->run(setup_.stop); })));
}

double ProbeOperations::matvec_gb_per_s(DType type) {
    const Weights& weights = weights_.at(type);
    const double seconds = seconds_of([&] { weights.matvec->run(setup_.stop); });
    return static_cast<double>(weights.row_bytes * weights.matvec_rows) / seconds * 1e-9;
}

double ProbeOperations::gemm_gflop_per_s(DType type) {
    const Weights& weights = weights_.at(type);
    const double seconds = seconds_of([&] { weights.gemm->run(setup_.stop); });
    return 2.0 * kProbeLimits.n_batch * kWidth * weights.gemm_rows / seconds * 1e-9;
}

double ProbeOperations::attention_gb_per_s() {
    const double seconds = seconds_of([&] { attention_->run(setup_.stop); });
    return static_cast<double>(attention_times_ * n_attended_ * kPositionBytes) / seconds * 1e-9;
}

double ProbeOperations::operation_us() {
    const double seconds = seconds_of([&] {
        for (std::uint32_t step = 0; step < layers_times_; ++step) layers_->run(setup_.stop);
    });
    return seconds / (layers_times_ * kLayers * 8) * 1e6;
}

std::vector<Trial> ProbeOperations::trials(const Figures& figures) {
    constexpr int kOften = 3;
    std::vector<Trial> trials;
    trials.reserve(weights_.size());
    for (const auto& [type, weights] : weights_)
        trials.push_back({"reading " + std::string(dtype_name(type)) + " weights", "GB/s", &figures.matvec.types[type],
                          [this, t = type] { return matvec_gb_per_s(t); }, kOften});
    trials.push_back({"attention", "GB/s", &figures.attention, [this] { return attention_gb_per_s(); }, kOften});
    trials.push_back({"an operation", "µs", &figures.operation, [this] { return operation_us(); }, kOften});
    for (const auto& [type, weights] : weights_)
        trials.push_back({std::string(dtype_name(type)) + " for 512 tokens", "GFLOP/s", &figures.gemm.types[type],
                          [this, t = type] { return gemm_gflop_per_s(t); }});
    return trials;
}

}  // namespace lfm
