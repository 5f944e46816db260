// The inner loops of the CPU backend, one table per instruction set. Operations (../operations) cut the work into
// pieces and call through the table; they know no instruction set. Kernels neither allocate nor
// start threads, and each output depends on its own row and token alone, so that cutting the work differently changes
// no bit.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "backends/needs/kv_pages.h"
#include "memory/dtype.h"

namespace lfm::cpu {

/// 32 neighbouring activations in 8 bits. This is part of the definition of a matmul with quantised weights, the same
/// on every backend: scale = max|x| / 127 in f32, q = x / scale rounded to nearest even (a zero block, or one whose
/// scale would be subnormal: scale 0). With a NaN or an infinity among them: scale NaN and q 0, so that what went wrong
/// before is seen in the result and not rounded away.
struct ActivationBlock {
    static constexpr std::uint32_t kSize = 32;
    std::int8_t q[kSize];
    float scale;
    std::int16_t sum[2];  // of q[0..15] and of q[16..31]
};

/// Blocks from one row of n activations to the next. Odd: rows a power of two apart fall into few sets of a cache,
/// which cannot hold a tile of tokens.
[[gnu::always_inline]] inline constexpr std::size_t activation_stride(std::size_t n) {
    return n / ActivationBlock::kSize | 1;
}

/// For fewer tokens weights are not unpacked: that costs as much as multiplying them by three tokens.
inline constexpr std::uint32_t kFewestUnpacked = 4;

/// y[t, r] = Σ_i w[r, i] · x[x_rows[t], i] for the n_rows weight rows from `weights` on and n_tokens tokens.
/// Sums in f32 (the exact table: f64); integer products inside a block of 32 are exact.
struct MatmulTile {
    const std::byte* weights = nullptr;  // first row, in file blocks; rows lie row_bytes apart; unaligned
    std::size_t row_bytes = 0;
    std::uint32_t n_rows = 0;
    std::uint32_t n_in = 0;                 // a multiple of the type's block size
    const float* x = nullptr;               // [*, n_in], for ActivationForm::kF32
    const ActivationBlock* xq = nullptr;    // [*, activation_stride(n_in)], for ActivationForm::kQ8
    const std::uint32_t* x_rows = nullptr;  // [n_tokens]: which activation row each token uses; null: row t
    std::uint32_t n_tokens = 0;
    float* y = nullptr;  // y[t * y_stride + r]
    std::size_t y_stride = 0;
};

enum class ActivationForm { kF32, kQ8 };

struct MatmulKernel {
    void (*run)(const MatmulTile&) = nullptr;
    ActivationForm activations = ActivationForm::kF32;
};

/// Attention of one token's query heads that share one key/value head, over n_keys cached positions.
/// out[h] = softmax(q[h] · Kᵀ · scale) · V. Keys are visited in chunks of kAttendChunk from position 0 on, always in
/// the same order.
struct AttendTile {
    const float* q = nullptr;   // [n_heads, head_dim]
    std::uint32_t n_heads = 0;  // query heads of this group, at most kMaxGroup
    std::uint32_t head_dim = 0;
    float scale = 0;
    const std::byte* k = nullptr;  // row r at k + r * k_stride: head_dim elements of k_type
    std::size_t k_stride = 0;
    const std::byte* v = nullptr;
    std::size_t v_stride = 0;
    DType k_type = DType::kF16;  // F32, F16 or Q8_0
    DType v_type = DType::kF16;
    std::uint32_t n_keys = 0;
    float* out = nullptr;                  // [n_heads, head_dim]
    const std::uint32_t* pages = nullptr;  // key p is in row kv_row(pages, p)

    std::size_t row(std::uint32_t key) const { return kv_row(pages, key); }
};
inline constexpr std::uint32_t kAttendChunk = 64;
inline constexpr std::uint32_t kMaxGroup = 32;
inline constexpr std::uint32_t kMaxHeadDim = 256;

struct Kernels {
    std::string_view name;
    std::array<MatmulKernel, kTypeIds> matmul{};  // indexed by the type's id; every supported type has one
    /// One row of n values, a multiple of 32, to n / 32 blocks.
    void (*quantise)(const float* x, std::size_t n, ActivationBlock* to) = nullptr;
    /// y[i] = silu(gate[i]) · up[i]; y may be gate.
    void (*swiglu)(const float* gate, const float* up, float* y, std::size_t n) = nullptr;
    void (*attend)(const AttendTile&) = nullptr;

    const MatmulKernel& matmul_for(DType type) const { return matmul[static_cast<std::size_t>(type)]; }
};

/// f32 activations, f32 weights after dequantising, sums in f64: what every other table is compared with.
const Kernels& exact_kernels();
/// The definition with quantised activations in plain loops; runs everywhere.
const Kernels& portable_kernels();
/// Null when this build or this machine lacks the instruction set.
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* neon_kernels();
/// The fastest of them here.
const Kernels& best_kernels();
/// Every table that can run here, from the slowest to the fastest, for tests and `--kernels`.
std::span<const Kernels* const> available_kernels();

/// x[0..n) = the values of n weights in `blocks`; n is a multiple of the block size. Any type. Plain loops.
void dequantise(DType type, const std::byte* blocks, std::size_t n, float* x);

}  // namespace lfm::cpu
