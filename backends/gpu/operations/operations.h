// The operations: what scratch each needs, and how each becomes launches (one file per group).
#pragma once

#include <array>

#include "backends/backend.h"
#include "backends/device/scratch.h"
#include "backends/gpu/kernels/cache_type.h"
#include "backends/gpu/recorder.h"

namespace lfm::gpu {

/// Whether weights of this type can be multiplied (matmul.cpp).
bool supports_weight(DType type);

/// The type as kernels take it. Throws Error{kUnsupportedModel}, naming `operation`, when a cache cannot have it
/// (rope_append.cpp).
CacheType cache_type(const char* operation, DType type);

/// Most operations need none.
template <typename Args>
void reserve(ScratchSizes&, const Args&) {}
void reserve(ScratchSizes& sizes, const MatmulArgs& args);
void reserve(ScratchSizes& sizes, const AttentionArgs& args);
void reserve(ScratchSizes& sizes, const SwigluArgs& args);
void reserve(ScratchSizes& sizes, const ShortConvArgs& args);
void reserve(ScratchSizes& sizes, const RouteArgs& args);
void reserve(ScratchSizes& sizes, const ExpertFfnArgs& args);

/// A norm with what is merged into its launch: sums before it, a copy after it.
struct SumNorm {
    std::uint32_t n_added = 0;            // 0: norm.x as it is
    std::array<const float*, 2> added{};  // norm.x + added[0] (+ added[1])
    float* sum = nullptr;                 // where the sum goes
    float* out_too = nullptr;             // null: no copy
    RmsNormArgs norm;
};

/// A router's choice that goes to a second place too, where that is not null.
struct MergedRoute {
    RouteArgs route;
    ExpertChoice out_too;
};

/// Whether a rotation and the append after it can be one launch (rope_append.cpp).
bool can_merge(const QkNormRopeArgs& rope, const KvAppendArgs& append);
void lower(Recorder& recorder, const QkNormRopeArgs& rope, const KvAppendArgs& append);

// Each throws Error{kUnsupportedModel} for what it cannot do.
void lower(Recorder& recorder, const EmbedArgs& args);       // matmul.cpp
void lower(Recorder& recorder, const MatmulArgs& args);      // matmul.cpp
void lower(Recorder& recorder, const MergedRoute& args);     // moe.cpp
void lower(Recorder& recorder, const ExpertFfnArgs& args);   // moe.cpp
void lower(Recorder& recorder, const AttentionArgs& args);   // attention.cpp
void lower(Recorder& recorder, const SumNorm& args);         // rows.cpp
void lower(Recorder& recorder, const SwigluArgs& args);      // rows.cpp
void lower(Recorder& recorder, const AddArgs& args);         // rows.cpp
void lower(Recorder& recorder, const CopyArgs& args);        // rows.cpp
void lower(Recorder& recorder, const QkNormRopeArgs& args);  // rope_append.cpp
void lower(Recorder& recorder, const KvAppendArgs& args);    // rope_append.cpp
void lower(Recorder& recorder, const ShortConvArgs& args);   // short_conv.cpp

}  // namespace lfm::gpu
