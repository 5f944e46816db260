#include "runtime/probe/roofline.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "backends/cpu/cpu_backend.h"
#include "backends/cpu/kernels/streams.h"
#include "memory/error.h"
#include "memory/host_buffer.h"
#include "runtime/machine/bandwidth.h"
#include "runtime/machine/host_memory.h"
#include "runtime/machine/side_by_side.h"
#include "runtime/probe/probe_trials.h"
#include "runtime/step/executor.h"
#include "runtime/tensors/random_weights.h"

namespace lfm {
namespace {

constexpr std::size_t kLeastMatrix = std::size_t{1} << 20;
constexpr std::size_t kPieceBytes = std::size_t{4} << 20;  // random weights that are written again and again
constexpr std::uint32_t kMostRows = 8192;                  // of many tokens: an output matrix would take seconds
constexpr double kSample = 0.01;                           // seconds, where one product takes less

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

/// One after the other, so that both see the same machine. `work` and `yardstick` return rates.
template <typename Work, typename Yardstick>
void compare(const RooflineOptions& options, Work&& work, Yardstick&& yardstick, RooflineResult& result) {
    std::vector<double> rates, limits, shares;
    work();  // wakes the threads
    for (std::uint32_t i = 0; i < options.repetitions; ++i) {
        check_stop(options.stop);
        rates.push_back(work());
        limits.push_back(yardstick());
        shares.push_back(limits.back() > 0 ? rates.back() / limits.back() : 0);
    }
    result.rate = median(rates);
    result.limit = median(limits);
    result.share = median(shares);
}

class Roofline {
public:
    explicit Roofline(const RooflineOptions& options)
        : options_(options), kernels_(options.kernels != nullptr ? *options.kernels : cpu::best_kernels()) {
        std::uint64_t widest_in = 0, widest_out = 0, largest = options.memory;
        for (const RooflineMatrix& matrix : options.matrices) {
            widest_in = std::max<std::uint64_t>(widest_in, matrix.n_in);
            widest_out = std::max<std::uint64_t>(widest_out, matrix.n_out);
            largest = std::max<std::uint64_t>(largest, size_of(matrix));
        }
        const std::uint32_t most_tokens = std::ranges::max(options.batches);
        const std::uint64_t batch_out = std::uint64_t{most_tokens} * std::min<std::uint64_t>(widest_out, kMostRows);
        const Bytes needed{largest + (most_tokens * widest_in + std::max(batch_out, widest_out)) * sizeof(float)};
        if (const Bytes available = available_memory(); needed > available)
            throw Error(ErrorCode::kShortfall, "RAM",
                        "needs " + format_bytes(needed) + " (weights " + format_bytes(Bytes{largest}) + "), " +
                            format_bytes(available) + " is available");
        weights_ = HostBuffer(ledger_, Purpose::kWeights, largest);
        x_ = HostBuffer(ledger_, Purpose::kActivations, most_tokens * widest_in * sizeof(float));
        y_ = HostBuffer(ledger_, Purpose::kActivations, std::max(batch_out, widest_out) * sizeof(float));
        const auto x = random_matrix(DType::kF32, static_cast<std::uint32_t>(widest_in), most_tokens, 1);
        std::memcpy(x_.bytes().data(), x.data(), x.size());
        backend_ = cpu::make_cpu_backend({.kernels = &kernels_,
                                          .n_threads = options.n_threads,
                                          .limits = {.n_batch = most_tokens, .n_ctx = most_tokens}},
                                         ledger_);
    }

    void run(const RooflineMatrix& matrix, const std::function<void(const RooflineResult&)>& done) {
        fill(matrix);
        for (const std::uint32_t n_tokens : options_.batches) {
            RooflineResult result{.matrix = matrix, .n_tokens = n_tokens};
            if (n_tokens < cpu::kFewestUnpacked)
                against_memory(matrix, result);
            else
                against_registers(matrix, result);
            done(result);
        }
    }

private:
    static std::size_t size_of(const RooflineMatrix& matrix) {
        return row_bytes(matrix.type, matrix.n_in) * matrix.n_out;
    }

    void fill(const RooflineMatrix& matrix) {
        const std::size_t row = row_bytes(matrix.type, matrix.n_in);
        const auto n_rows = std::min<std::size_t>(matrix.n_out, std::max<std::size_t>(kPieceBytes / row, 1));
        const auto piece = random_matrix(matrix.type, matrix.n_in, static_cast<std::uint32_t>(n_rows), 2);
        const auto all = weights_.bytes();
        for (std::size_t at = 0; at < all.size(); at += piece.size())
            std::memcpy(all.data() + at, piece.data(), std::min(piece.size(), all.size() - at));
    }

    MatmulArgs multiply(const RooflineMatrix& matrix, std::size_t at, std::uint32_t n_rows) const {
        const WeightView weight{weights_.bytes().data() + at, matrix.type, n_rows, matrix.n_in,
                                row_bytes(matrix.type, matrix.n_in)};
        return {.x = {x_.as<float>().data(), matrix.n_in},
                .outputs = {MatmulOutput{weight, {y_.as<float>().data(), n_rows}}},
                .n_outputs = 1};
    }

    std::unique_ptr<Executor> record(std::vector<Operation> operations) {
        return std::make_unique<Executor>(
            ExecutorInputs{.program = {{.name = "matmul", .operations = std::move(operations)}},
                           .host = *backend_,
                           .beside = {},
                           .params = step_,
                           .n_threads = options_.n_threads});
    }

    /// As many matrices as memory holds, one after the other, as a token meets them.
    void against_memory(const RooflineMatrix& matrix, RooflineResult& result) {
        const std::size_t size = size_of(matrix), n = weights_.bytes().size() / size;
        std::vector<Operation> operations;
        for (std::size_t i = 0; i < n; ++i) operations.push_back(multiply(matrix, i * size, matrix.n_out));
        step_ = {.n_tokens = result.n_tokens};
        const auto executor = record(std::move(operations));
        compare(
            options_, [&] { return static_cast<double>(n * size) / seconds_of([&] { executor->run(options_.stop); }); },
            [&] { return read_bandwidth_once(weights_.bytes().first(n * size), options_.n_threads); }, result);
    }

    void against_registers(const RooflineMatrix& matrix, RooflineResult& result) {
        const std::uint32_t n_rows = std::min(matrix.n_out, kMostRows);
        const double multiply_adds = 1.0 * n_rows * matrix.n_in * result.n_tokens;
        step_ = {.n_tokens = result.n_tokens};
        const Operation once = multiply(matrix, 0, n_rows);
        auto executor = record({once});
        executor->run(options_.stop);  // wakes the threads
        const double seconds = seconds_of([&] { executor->run(options_.stop); });
        const auto times = static_cast<std::size_t>(std::clamp(kSample / seconds, 1.0, 256.0));
        if (times > 1) executor = record(std::vector<Operation>(times, once));
        const double work = 2 * multiply_adds * static_cast<double>(times);
        const cpu::MultiplyStream stream = cpu::multiply_stream(kernels_, matrix.type);
        compare(
            options_, [&] { return work / seconds_of([&] { executor->run(options_.stop); }); },
            [&]() -> double {
                if (stream.multiply_adds == 0) return 0;
                const auto rounds =
                    static_cast<std::uint64_t>(work / 2 / options_.n_threads / stream.multiply_adds) + 1;
                const double done = 2.0 * static_cast<double>(rounds) * stream.multiply_adds * options_.n_threads;
                return done / seconds_side_by_side(options_.n_threads, [&](std::uint32_t) { stream.run(rounds); });
            },
            result);
    }

    RooflineOptions options_;
    const cpu::Kernels& kernels_;
    Ledger ledger_;
    HostBuffer weights_, x_, y_;
    StepParams step_;
    std::unique_ptr<Backend> backend_;
};

}  // namespace

std::vector<RooflineMatrix> roofline_matrices(const ModelDescription& model) {
    std::vector<RooflineMatrix> matrices;
    for (const TensorRef* tensor : all_tensors(model)) {
        if (tensor->n_dims < 2 || (tensor == &model.token_embd && model.output)) continue;
        const RooflineMatrix matrix{tensor->type, static_cast<std::uint32_t>(tensor->dims[0]),
                                    static_cast<std::uint32_t>(tensor->dims[1])};
        if (row_bytes(matrix.type, matrix.n_in) * matrix.n_out >= kLeastMatrix) matrices.push_back(matrix);
    }
    std::ranges::sort(matrices);
    matrices.erase(std::ranges::unique(matrices).begin(), matrices.end());
    return matrices;
}

void measure_roofline(const RooflineOptions& options, const std::function<void(const RooflineResult&)>& done) {
    if (options.matrices.empty() || options.batches.empty()) return;
    Roofline roofline(options);
    for (const RooflineMatrix& matrix : options.matrices) roofline.run(matrix, done);
}

}  // namespace lfm
