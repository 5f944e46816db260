// What every CPU operation works with, and the operations themselves (one file per group).
#pragma once

#include <cstdint>

#include "backends/backend.h"
#include "backends/cpu/kernels/kernels.h"
#include "backends/cpu/operations/team.h"

namespace lfm::cpu {

/// Working memory of the operations, sized when programs are recorded. One operation runs at a time.
struct Scratch {
    ActivationBlock* input;       // [n_batch, activation_stride(widest matmul input)]
    float* router_logits;         // [n_batch, n_expert]
    std::uint32_t* token_of;      // [n_batch · n_expert_used]: the token of each row, rows sorted by expert
    std::uint32_t* row_of;        // [n_batch · n_expert_used]: the row of each (token, choice); kNoRow: none here
    std::uint32_t* expert_begin;  // [n_expert + 1]: first row of each expert
    std::uint32_t* active;        // [n_expert]: experts with rows
    float* gate;                  // [n_batch · n_expert_used, n_ff]
    float* up;                    // [n_batch · n_expert_used, n_ff]
    ActivationBlock* hidden;      // [n_batch · n_expert_used, activation_stride(n_ff)]
    float* expert_out;            // [n_batch · n_expert_used, n_embd]
};
inline constexpr std::uint32_t kNoRow = ~0u;

struct Context {
    const Kernels& kernels;
    Team& team;
    const Scratch& scratch;
    const StepParams& step;
    DeviceId self;

    std::uint32_t n_rows(RowSet rows) const { return rows == RowSet::kTokens ? step.n_tokens : step.n_outputs; }
};

void run(const Context& context, const EmbedArgs& args);
void run(const Context& context, const RmsNormArgs& args);
void run(const Context& context, const MatmulArgs& args);
void run(const Context& context, const QkNormRopeArgs& args);
void run(const Context& context, const KvAppendArgs& args);
void run(const Context& context, const AttentionArgs& args);
void run(const Context& context, const ShortConvArgs& args);
void run(const Context& context, const SwigluArgs& args);
void run(const Context& context, const RouteArgs& args);
void run(const Context& context, const ExpertFfnArgs& args);
void run(const Context& context, const AddArgs& args);
void run(const Context& context, const CopyArgs& args);

/// Quantises n_rows rows of n activations, a multiple of 32; out: [n_rows, activation_stride(n)].
void quantise_rows(const Context& context, const float* x, std::uint32_t n_rows, std::uint32_t n, ActivationBlock* out);

/// Weight rows per piece of work: about 64 KiB, so that there are few pieces to claim and they take equal time; a
/// multiple of 16 (the lanes of the widest kernel), at most 256 and, from kFewestUnpacked tokens on, at least the 64 of
/// a tile. The same for any number of threads.
std::uint32_t rows_per_chunk(std::size_t row_bytes, std::uint32_t n_tokens);

/// Bytes from one row of a cache to the next: the keys or the values of all heads.
inline std::size_t kv_row_bytes(const KvView& kv, DType type) {
    return row_bytes(type, std::uint64_t{kv.n_head_kv} * kv.head_dim);
}

}  // namespace lfm::cpu
