#include "backends/cpu/kernels/portable_attend.h"

#include <cmath>
#include <limits>

#include "backends/cpu/kernels/portable_rows.h"

namespace lfm::cpu::portable {
namespace {

ReadRow reader(DType type) {
    if (type == DType::kF32) return read_f32;
    if (type == DType::kF16) return read_f16;
    return read_q8_0;
}

/// Softmax over the keys so far: out holds Σ weight · v and total Σ weight, both relative to exp(largest).
struct RunningSoftmax {
    float largest = -std::numeric_limits<float>::infinity();
    float total = 0;
};

/// Turns scores into weights and rescales the earlier sums to the new maximum.
void take_chunk(float* scores, std::uint32_t n, RunningSoftmax& state, float* out, std::uint32_t head_dim) {
    float largest = state.largest;
    for (std::uint32_t j = 0; j < n; ++j) largest = scores[j] > largest ? scores[j] : largest;
    const float shrink = std::exp(state.largest - largest);  // 0 for the first chunk
    for (std::uint32_t i = 0; i < head_dim; ++i) out[i] *= shrink;
    float total = state.total * shrink;
    for (std::uint32_t j = 0; j < n; ++j) {
        scores[j] = std::exp(scores[j] - largest);
        total += scores[j];
    }
    state = {largest, total};
}

}  // namespace

void attend(const AttendTile& tile) {
    const ReadRow read_k = reader(tile.k_type), read_v = reader(tile.v_type);
    const std::uint32_t head_dim = tile.head_dim;
    RunningSoftmax states[kMaxGroup];
    float scores[kMaxGroup][kAttendChunk];
    float row[kMaxHeadDim];  // one key or value, shared by the heads of the group
    for (std::uint32_t i = 0; i < tile.n_heads * head_dim; ++i) tile.out[i] = 0;

    for (std::uint32_t first = 0; first < tile.n_keys; first += kAttendChunk) {
        const std::uint32_t rest = tile.n_keys - first, n = rest < kAttendChunk ? rest : kAttendChunk;
        for (std::uint32_t j = 0; j < n; ++j) {
            read_k(tile.k + tile.row(first + j) * tile.k_stride, head_dim, row);
            for (std::uint32_t h = 0; h < tile.n_heads; ++h)
                scores[h][j] = dot(tile.q + h * head_dim, row, head_dim) * tile.scale;
        }
        for (std::uint32_t h = 0; h < tile.n_heads; ++h)
            take_chunk(scores[h], n, states[h], tile.out + h * head_dim, head_dim);
        for (std::uint32_t j = 0; j < n; ++j) {
            read_v(tile.v + tile.row(first + j) * tile.v_stride, head_dim, row);
            for (std::uint32_t h = 0; h < tile.n_heads; ++h)
                for (std::uint32_t i = 0; i < head_dim; ++i) tile.out[h * head_dim + i] += scores[h][j] * row[i];
        }
    }
    for (std::uint32_t h = 0; h < tile.n_heads; ++h)
        for (std::uint32_t i = 0; i < head_dim && tile.n_keys > 0; ++i) tile.out[h * head_dim + i] /= states[h].total;
}

}  // namespace lfm::cpu::portable
