// Matmul on the CPU beside what the machine gives in the same moments: for few tokens how fast it reads memory, for
// many how fast it multiplies in registers.
#pragma once

#include <atomic>
#include <functional>
#include <vector>

#include "backends/cpu/kernels/kernels.h"
#include "planner/model/model.h"

namespace lfm {

/// A matrix of a model: [n_out, n_in] of `type`.
struct RooflineMatrix {
    DType type = DType::kF32;
    std::uint32_t n_in = 0;
    std::uint32_t n_out = 0;

    auto operator<=>(const RooflineMatrix&) const = default;
};

struct RooflineResult {
    RooflineMatrix matrix;
    std::uint32_t n_tokens = 0;
    // Fewer than cpu::kFewestUnpacked tokens: bytes of weights a second, and of a plain read loop. More: operations a
    // second (two per multiply-add), and those of the type's multiply_stream; limit 0 for plain loops.
    double rate = 0;
    double limit = 0;
    double share = 0;  // median of rate / limit, each measured in succession; 0: no limit
};

struct RooflineOptions {
    std::vector<RooflineMatrix> matrices;
    std::vector<std::uint32_t> batches;     // tokens at once, at least 1 each
    const cpu::Kernels* kernels = nullptr;  // null: the fastest here
    std::uint32_t n_threads = 1;
    std::uint32_t repetitions = 5;      // at least 1; samples of each median
    std::size_t memory = 512ull << 20;  // of weights for few tokens: more than caches hold
    const std::atomic<bool>* stop = nullptr;
};

/// The matrices that `model` multiplies by, each type and shape once, of experts that of one. Leaves out an embedding
/// that is only looked up, and matrices under 1 MiB, whose time is not that of a matmul.
std::vector<RooflineMatrix> roofline_matrices(const ModelDescription& model);

/// Blocks; calls `done` with each result. Throws Error{kShortfall} when memory is refused, Error{kInterrupted} when
/// `stop` became true.
void measure_roofline(const RooflineOptions& options, const std::function<void(const RooflineResult&)>& done);

}  // namespace lfm
