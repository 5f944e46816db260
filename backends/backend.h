// What a device can do: a dozen operations, each a struct of views, recorded once and replayed every step.
//
// Shapes are row-major. "n" is the step's number of tokens, read from StepParams when a program runs, so that a
// recorded program serves every step. Views own nothing; what they refer to outlives the program.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <variant>

#include "backends/step_params.h"
#include "memory/dtype.h"
#include "memory/expert_table.h"
#include "memory/units.h"

namespace lfm {

/// [n_out, n_in] in file blocks; rows lie row_bytes apart.
struct WeightView {
    const std::byte* data = nullptr;
    DType type = DType::kF32;
    std::uint32_t n_out = 0;
    std::uint32_t n_in = 0;
    std::size_t row_bytes = 0;
};

/// [n, n_cols] f32.
struct RowsView {
    float* data = nullptr;
    std::uint32_t n_cols = 0;
};

/// Which rows an operation works on: all n, or the n_outputs rows of an output buffer.
enum class RowSet { kTokens, kOutputs };

/// Keys and values of one layer: [rows of all pages, n_head_kv · head_dim] each (needs/kv_pages.h).
struct KvView {
    std::byte* k = nullptr;
    std::byte* v = nullptr;
    DType k_type = DType::kF16;  // F32, F16 or Q8_0
    DType v_type = DType::kF16;
    std::uint32_t n_head_kv = 0;
    std::uint32_t head_dim = 0;
};

/// The router's choice: [n, n_expert_used] each.
struct ExpertChoice {
    std::int32_t* ids = nullptr;
    float* weights = nullptr;
};

/// out[t] = table[token_ids[t]], dequantised.
struct EmbedArgs {
    WeightView table;  // [n_vocab, n_embd]
    RowsView out;
};

/// out = weight · x / sqrt(mean(x²) + eps), row by row. out may be x.
struct RmsNormArgs {
    RowsView x;
    const float* weight = nullptr;  // [n_cols]
    float eps = 0;
    RowsView out;
    RowSet rows = RowSet::kTokens;
};

/// out[i] = x · weight[i]ᵀ for up to three weights that share their input (as q, k, v do).
struct MatmulOutput {
    WeightView weight;
    RowsView out;
};
struct MatmulArgs {
    RowsView x;
    std::array<MatmulOutput, 3> outputs;
    std::uint32_t n_outputs = 0;
    RowSet rows = RowSet::kTokens;
};

/// Per head: RMS norm over head_dim, then rotation of pairs (i, i + head_dim/2) by StepParams::rope. In place.
struct QkNormRopeArgs {
    RowsView q;                     // [n, n_head · head_dim]
    RowsView k;                     // [n, n_head_kv · head_dim]
    const float* q_norm = nullptr;  // [head_dim]
    const float* k_norm = nullptr;  // [head_dim]
    std::uint32_t head_dim = 0;
    float eps = 0;
};

/// Copies pages by StepParams::page_copies; writes each row where its sequence's pages have its position, converted to
/// the cache's types. Rows that are replayed are not written.
struct KvAppendArgs {
    RowsView k, v;  // [n, n_head_kv · head_dim]
    KvView cache;
};

/// Causal grouped-query attention of each token over its own sequence's keys, scale 1/sqrt(head_dim).
struct AttentionArgs {
    RowsView q;    // [n, n_head · head_dim]
    KvView cache;  // already holds this step's keys and values
    RowsView out;  // [n, n_head · head_dim]
};

/// Gated short convolution. bcx holds B, C and X side by side; s = B ⊙ X;
/// out = C ⊙ Σ_j taps[c, j] · s[t − (l_cache − 1) + j], with zeros before position 0. Rows of s before the step are the
/// sequence's window (WindowFrom). The step's last rows of s are written to the sequence's ring behind the window,
/// which the ring holds too after the step, wherever it came from.
struct ShortConvArgs {
    RowsView bcx;                 // [n, 3 · n_embd]
    const float* taps = nullptr;  // [n_embd, l_cache]
    std::uint32_t l_cache = 0;
    float* ring = nullptr;      // [rows of all rings and saved windows, n_embd]
    std::uint32_t n_slots = 0;  // of a ring: at least 2 · (l_cache − 1): ConvRing
    RowsView out;               // [n, n_embd]
};

/// out = silu(gate) ⊙ up. out may be gate.
struct SwigluArgs {
    RowsView gate, up, out;
};

/// p = sigmoid(router · x); the n_expert_used largest of p + bias; weights = p of those / (their sum + 1e-6) · scale.
struct RouteArgs {
    RowsView x;
    WeightView router;            // [n_expert, n_embd]
    const float* bias = nullptr;  // [n_expert] or null
    std::uint32_t n_expert_used = 0;
    float scale = 1;
    std::uint32_t moe_layer = 0;  // which row of StepParams::forced_experts
    ExpertChoice out;
};

/// Experts that travelled to a device for one step: they stand in equal slots, each gate, up and down one after
/// another.
struct StagedExperts {
    const std::int32_t* slot_of = nullptr;  // [n_expert]: −1: not staged here. Read when the operation runs
    const std::byte* slots = nullptr;
    std::size_t slot_bytes = 0;
    std::size_t up_offset = 0, down_offset = 0;  // within a slot, multiples of 16
};

/// Which experts an operation computes: those its device holds by the table and that are not staged, or the staged.
enum class ExpertSet : std::uint8_t { kHeld, kStaged };

/// out[t] = Σ over t's chosen experts of the set of weight · down(silu(gate · x) ⊙ up · x), in order of choice. Others
/// are skipped; a token without any gets zeros.
struct ExpertFfnArgs {
    RowsView x;
    LayerId layer;
    const ExpertTable* experts = nullptr;
    ExpertSet set = ExpertSet::kHeld;
    StagedExperts staged;  // slot_of null: none is staged
    DType gate_type = DType::kF32, up_type = DType::kF32, down_type = DType::kF32;
    std::uint32_t n_ff = 0;
    std::uint32_t n_expert_used = 0;
    ExpertChoice choice;
    RowsView out;
};

/// out = a + b. out may be a or b.
struct AddArgs {
    RowsView a, b, out;
};

/// out = x for up to four pairs of the same shape, bit by bit; kOutputs: the output rows of x.
struct RowsCopy {
    RowsView x, out;
};
struct CopyArgs {
    std::array<RowsCopy, 4> parts;
    std::uint32_t n_parts = 0;
    RowSet rows = RowSet::kTokens;
};

using Operation = std::variant<EmbedArgs, RmsNormArgs, MatmulArgs, QkNormRopeArgs, KvAppendArgs, AttentionArgs,
                               ShortConvArgs, SwigluArgs, RouteArgs, ExpertFfnArgs, AddArgs, CopyArgs>;

class Backend;

/// Which of a backend's programs.
struct ProgramId {
    std::uint32_t value = 0;
    bool operator==(const ProgramId&) const = default;
};

/// A program recorded on a backend, which outlives it. The backend forgets it when this object is destroyed or, where
/// it is still under way then, once it is done. Move-only.
class Program {
public:
    Program() = default;
    Program(Backend& backend, ProgramId id) : backend_(&backend), id_(id) {}
    Program(Program&& other) noexcept : backend_(std::exchange(other.backend_, nullptr)), id_(other.id_) {}
    Program& operator=(Program&& other) noexcept {
        std::swap(backend_, other.backend_);
        std::swap(id_, other.id_);
        return *this;
    }
    inline ~Program();

    ProgramId id() const { return id_; }
    operator ProgramId() const { return id_; }

private:
    Backend* backend_ = nullptr;
    ProgramId id_;
};

/// In which form activations are multiplied with quantised weights.
enum class ActivationKind : std::uint8_t {
    kQuantised,  // to 8 bits in blocks of 32, as backends/cpu/kernels/kernels.h defines it
    kFloat,      // as they are, f32: slower, and free of that rounding
};

class Backend {
public:
    virtual ~Backend() = default;

    virtual std::string_view name() const = 0;
    /// Whether weights of this type can be multiplied. Asked when loading, never per token.
    virtual bool supports(DType weight_type) const = 0;
    /// Prepares operations for replay, with all the scratch memory they need. `params` is read each time the program
    /// runs. Throws Error when something cannot run here.
    Program record(std::span<const Operation> operations, const StepParams& params) {
        return {*this, add_program(operations, params)};
    }
    /// Enqueues a recorded program. Allocates nothing. Device errors surface at the wait.
    virtual void submit(ProgramId program) = 0;
    /// Blocks until everything submitted has finished.
    virtual void wait() = 0;

private:
    friend class Program;
    virtual ProgramId add_program(std::span<const Operation> operations, const StepParams& params) = 0;
    /// Memory that no other program needs is given back, by a lost device when it is closed.
    virtual void forget_program(ProgramId program) noexcept = 0;
};

inline Program::~Program() {
    if (backend_ != nullptr) backend_->forget_program(id_);
}

}  // namespace lfm
