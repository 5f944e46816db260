// Kernels that attention begins with: qk_norm_rope, kv_append, both in one, and the copies of pages before them. There
// are as many groups as the step has tokens (rows.h).
#pragma once

#include <cstdint>

#include "backends/gpu/kernels/cache_type.h"
#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

inline constexpr std::uint32_t kHeadsOfGroup = 8;  // of qk_norm_rope and rope_append
struct QkNormRopePush {
    const Step* step;
    float *q, *k;
    const float *q_norm, *k_norm;
    std::uint32_t n_head, n_head_kv, head_dim;
    float eps;
};
/// Heads along x, first those of q, then those of k; tokens along y.
Kernel qk_norm_rope_kernel();

inline constexpr std::uint32_t kAppendColumns = 256;  // of a group
struct KvAppendPush {
    struct Part {
        const float* x;
        std::byte* cache;
        CacheType type;
        std::uint32_t row_bytes;  // of the cache
    };
    const Step* step;
    Part k, v;
    std::uint32_t n_cols;
};
/// Columns along x, tokens along y, keys and values along z.
Kernel kv_append_kernel();

inline constexpr std::uint32_t kCopyThreads = 256, kCopyGroups = 16;
struct CopyPagesPush {
    struct Part {
        std::byte* cache;
        std::uint32_t row_bytes;
    };
    const Step* step;
    Part k, v;
};
/// kCopyGroups or fewer along x, page copies along y, keys and values along z.
Kernel copy_pages_kernel();

/// Both. Caches of Q8_0: heads of a multiple of 64. `k.x` is not read: the keys are `rope.k`.
struct RopeAppendPush {
    QkNormRopePush rope;
    KvAppendPush::Part k, v;
};
/// Heads along x, of q, of k, then of v; tokens along y.
Kernel rope_append_kernel();

}  // namespace lfm::gpu
