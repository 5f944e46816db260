// Attention of a group of query heads over one key/value head, a chunk of 64 keys at a time: scores, softmax so far,
// weighted sum of values. Heads go four at a time, so that a cached row is converted once for all of them.
// head_dim must be a multiple of 8 (avx2/available.cpp sees to it).
#include "backends/cpu/kernels/avx2/kernels.h"
#include "backends/cpu/kernels/avx2/math.h"

namespace lfm::cpu::avx2 {
namespace {

constexpr std::uint32_t kHeads = 4;  // at once

struct F32 {
    static __m256 load(const std::byte* row, std::uint32_t i) {
        return _mm256_loadu_ps(reinterpret_cast<const float*>(row) + i);
    }
};
struct F16 {
    static __m256 load(const std::byte* row, std::uint32_t i) {
        return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + 2 * i)));
    }
};
struct Q8_0 {
    static __m256 load(const std::byte* row, std::uint32_t i) {
        const std::byte* block = row + i / 32 * 34;
        unsigned short d;
        __builtin_memcpy(&d, block, sizeof d);
        const __m128i q = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + 2 + i % 32));
        return _mm256_mul_ps(_mm256_set1_ps(_cvtsh_ss(d)), _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(q)));
    }
};

struct HeadState {
    float largest = -__builtin_huge_valf();  // score so far; total and `out` are relative to its exponential
    __m256 total = {};                       // Σ weight, by position mod 8
};

/// Lane i is the sum of the lanes of v[i].
inline __m256 add_lanes_of(const __m256 (&v)[8]) {
    const __m256 a = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
    const __m256 b = _mm256_hadd_ps(_mm256_hadd_ps(v[4], v[5]), _mm256_hadd_ps(v[6], v[7]));
    return _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
}

struct Chunk {
    std::uint32_t first, n;
};
using Scores = float (*)[kAttendChunk];

/// The keys `begin` to `end` of a chunk, which lie in one page of the cache.
struct Piece {
    std::uint32_t begin, end;
};
inline Piece piece_of(Chunk chunk, std::uint32_t begin) {
    return {begin, chunk.n - begin < kKvPageTokens ? chunk.n : begin + kKvPageTokens};
}

/// scores[head][key] = q · k · scale of a page's keys, for kCount heads from tile head `head` on.
template <class Type, std::uint32_t kCount>
void score_page(const AttendTile& tile, Piece piece, const std::byte* page, std::uint32_t head, Scores scores) {
    constexpr std::uint32_t kKeys = 8 / kCount;  // as many sums as hide the latency of an addition
    const float* q = tile.q + head * tile.head_dim;
    const std::byte* const last = page + (piece.end - piece.begin - 1) * tile.k_stride;
    for (std::uint32_t j = piece.begin; j < piece.end; j += kKeys, page += kKeys * tile.k_stride) {
        const std::byte* row[kKeys];
        for (std::uint32_t key = 0; key < kKeys; ++key)
            row[key] = j + key < piece.end ? page + key * tile.k_stride : last;
        __m256 sums[8] = {};
        for (std::uint32_t i = 0; i < tile.head_dim; i += 8) {
            __m256 k[kKeys];
#pragma GCC unroll 8
            for (std::uint32_t key = 0; key < kKeys; ++key) k[key] = Type::load(row[key], i);
#pragma GCC unroll 4
            for (std::uint32_t h = 0; h < kCount; ++h) {
                const __m256 q8 = _mm256_loadu_ps(q + h * tile.head_dim + i);
#pragma GCC unroll 8
                for (std::uint32_t key = 0; key < kKeys; ++key) {
                    sums[h * kKeys + key] = _mm256_fmadd_ps(q8, k[key], sums[h * kKeys + key]);
                }
            }
        }
        alignas(32) float result[8];
        _mm256_store_ps(result, _mm256_mul_ps(add_lanes_of(sums), _mm256_set1_ps(tile.scale)));
        for (std::uint32_t h = 0; h < kCount; ++h) {
            for (std::uint32_t key = 0; key < kKeys && j + key < piece.end; ++key) {
                scores[h][j + key] = result[h * kKeys + key];
            }
        }
    }
}

template <class Type, std::uint32_t kCount>
void score_keys(const AttendTile& tile, Chunk chunk, std::uint32_t head, Scores scores) {
    for (std::uint32_t begin = 0; begin < chunk.n; begin += kKvPageTokens)
        score_page<Type, kCount>(tile, piece_of(chunk, begin), tile.k + tile.row(chunk.first + begin) * tile.k_stride,
                                 head, scores);
}

/// Turns scores into weights and rescales the earlier sums to the new maximum. Scores behind the last key are -inf.
inline void weigh(float* scores, HeadState& state, float* out, std::uint32_t head_dim) {
    __m256 top = _mm256_set1_ps(state.largest);
    for (std::uint32_t j = 0; j < kAttendChunk; j += 8) top = _mm256_max_ps(_mm256_load_ps(scores + j), top);
    const __m256 largest = _mm256_set1_ps(largest_lane(top));
    const __m256 shrink = exp(_mm256_sub_ps(_mm256_set1_ps(state.largest), largest));  // 0 at first
    state.largest = _mm256_cvtss_f32(largest);
    state.total = _mm256_mul_ps(state.total, shrink);
    for (std::uint32_t j = 0; j < kAttendChunk; j += 8) {
        const __m256 weight = exp(_mm256_sub_ps(_mm256_load_ps(scores + j), largest));
        _mm256_store_ps(scores + j, weight);
        state.total = _mm256_add_ps(state.total, weight);
    }
    for (std::uint32_t i = 0; i < head_dim; i += 8) {
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_loadu_ps(out + i), shrink));
    }
}

/// out[head][i..] += Σ weight · v for kVectors · 8 elements.
template <class Type, std::uint32_t kCount, std::uint32_t kVectors>
void add_values(const AttendTile& tile, Chunk chunk, Scores weights, std::uint32_t i, float* out) {
    __m256 sums[kCount][kVectors];
    for (std::uint32_t h = 0; h < kCount; ++h) {
        for (std::uint32_t p = 0; p < kVectors; ++p) sums[h][p] = _mm256_loadu_ps(out + h * tile.head_dim + i + 8 * p);
    }
    for (std::uint32_t begin = 0; begin < chunk.n; begin += kKvPageTokens) {
        const Piece piece = piece_of(chunk, begin);
        const std::byte* row = tile.v + tile.row(chunk.first + begin) * tile.v_stride;
        for (std::uint32_t j = begin; j < piece.end; ++j, row += tile.v_stride) {
            __m256 v[kVectors];
#pragma GCC unroll 4
            for (std::uint32_t p = 0; p < kVectors; ++p) v[p] = Type::load(row, i + 8 * p);
#pragma GCC unroll 4
            for (std::uint32_t h = 0; h < kCount; ++h) {
                const __m256 weight = _mm256_set1_ps(weights[h][j]);
#pragma GCC unroll 4
                for (std::uint32_t p = 0; p < kVectors; ++p) sums[h][p] = _mm256_fmadd_ps(weight, v[p], sums[h][p]);
            }
        }
    }
    for (std::uint32_t h = 0; h < kCount; ++h) {
        for (std::uint32_t p = 0; p < kVectors; ++p) _mm256_storeu_ps(out + h * tile.head_dim + i + 8 * p, sums[h][p]);
    }
}

/// Prefetches one head's part of `n` neighbouring rows of the cache. They lie n_head_kv · head_dim elements apart:
/// hardware loses the stream at every 4 KiB, which is every fourth row of the family's models.
inline void prefetch_rows(const std::byte* row, std::size_t stride, std::uint32_t n, std::size_t bytes) {
    for (std::uint32_t j = 0; j < n; ++j, row += stride)
        for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(row + i);
}

/// Prefetches the rows of a chunk's keys or values; row 0 of the cache is at `data`.
inline void prefetch_chunk(const AttendTile& tile, Chunk chunk, const std::byte* data, std::size_t stride, DType type) {
    for (std::uint32_t j = 0; j < chunk.n; j += kKvPageTokens) {
        const std::uint32_t left = chunk.n - j;
        prefetch_rows(data + tile.row(chunk.first + j) * stride, stride, left < kKvPageTokens ? left : kKvPageTokens,
                      row_bytes(type, tile.head_dim));
    }
}

template <class K, class V, std::uint32_t kCount>
void attend_heads(const AttendTile& tile, std::uint32_t head) {
    HeadState states[kCount];
    alignas(32) float scores[kCount][kAttendChunk];
    float* out = tile.out + head * tile.head_dim;
    for (std::uint32_t i = 0; i < kCount * tile.head_dim; ++i) out[i] = 0;
    for (std::uint32_t first = 0; first < tile.n_keys; first += kAttendChunk) {
        const std::uint32_t left = tile.n_keys - first;
        const Chunk chunk = {first, left < kAttendChunk ? left : kAttendChunk};
        for (std::uint32_t h = 0; h < kCount; ++h) {
            for (std::uint32_t j = chunk.n; j < kAttendChunk; ++j) scores[h][j] = -__builtin_huge_valf();
        }
        prefetch_chunk(tile, chunk, tile.v, tile.v_stride, tile.v_type);
        score_keys<K, kCount>(tile, chunk, head, scores);
        const std::uint32_t after = left - chunk.n;
        const Chunk next = {first + chunk.n, after < kAttendChunk ? after : kAttendChunk};
        prefetch_chunk(tile, next, tile.k, tile.k_stride, tile.k_type);
        for (std::uint32_t h = 0; h < kCount; ++h) weigh(scores[h], states[h], out + h * tile.head_dim, tile.head_dim);
        std::uint32_t i = 0;
        for (; i + 16 <= tile.head_dim; i += 16) add_values<V, kCount, 2>(tile, chunk, scores, i, out);
        if (i < tile.head_dim) add_values<V, kCount, 1>(tile, chunk, scores, i, out);
    }
    for (std::uint32_t h = 0; h < kCount && tile.n_keys > 0; ++h) {
        const __m256 total = _mm256_set1_ps(add_lanes(states[h].total));
        for (std::uint32_t i = h * tile.head_dim; i < (h + 1) * tile.head_dim; i += 8) {
            _mm256_storeu_ps(out + i, _mm256_div_ps(_mm256_loadu_ps(out + i), total));
        }
    }
}

template <class K, class V>
void attend_typed(const AttendTile& tile) {
    std::uint32_t head = 0;
    for (; head + kHeads <= tile.n_heads; head += kHeads) attend_heads<K, V, kHeads>(tile, head);
    if (tile.n_heads - head == 3) attend_heads<K, V, 3>(tile, head);
    if (tile.n_heads - head == 2) attend_heads<K, V, 2>(tile, head);
    if (tile.n_heads - head == 1) attend_heads<K, V, 1>(tile, head);
}

template <class K>
void attend_values(const AttendTile& tile) {
    if (tile.v_type == DType::kF32) return attend_typed<K, F32>(tile);
    if (tile.v_type == DType::kF16) return attend_typed<K, F16>(tile);
    attend_typed<K, Q8_0>(tile);
}

}  // namespace

void attend(const AttendTile& tile) {
    if (tile.k_type == DType::kF32) return attend_values<F32>(tile);
    if (tile.k_type == DType::kF16) return attend_values<F16>(tile);
    attend_values<Q8_0>(tile);
}

}  // namespace lfm::cpu::avx2
