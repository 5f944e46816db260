// The operations: what scratch each needs, and how each becomes dispatches (one file per group).
#pragma once

#include "backends/backend.h"
#include "backends/device/scratch.h"
#include "backends/vulkan/recorder.h"

namespace lfm::vulkan {

/// Whether weights of this type can be multiplied (matmul.cpp).
bool supports_weight(DType type);

/// Most operations need no scratch.
template <typename Args>
void reserve(ScratchSizes&, const Args&) {}
void reserve(ScratchSizes& sizes, const MatmulArgs& args);
void reserve(ScratchSizes& sizes, const AttentionArgs& args);
void reserve(ScratchSizes& sizes, const RouteArgs& args);
void reserve(ScratchSizes& sizes, const ExpertFfnArgs& args);

// Each throws Error{kUnsupportedModel} for what it cannot do.
void lower(Recorder& recorder, const EmbedArgs& args);       // matmul.cpp
void lower(Recorder& recorder, const MatmulArgs& args);      // matmul.cpp
void lower(Recorder& recorder, const RouteArgs& args);       // moe.cpp
void lower(Recorder& recorder, const ExpertFfnArgs& args);   // moe.cpp
void lower(Recorder& recorder, const AttentionArgs& args);   // attention.cpp
void lower(Recorder& recorder, const RmsNormArgs& args);     // rows.cpp
void lower(Recorder& recorder, const SwigluArgs& args);      // rows.cpp
void lower(Recorder& recorder, const AddArgs& args);         // rows.cpp
void lower(Recorder& recorder, const CopyArgs& args);        // rows.cpp
void lower(Recorder& recorder, const QkNormRopeArgs& args);  // rope_append.cpp
void lower(Recorder& recorder, const KvAppendArgs& args);    // rope_append.cpp
void lower(Recorder& recorder, const ShortConvArgs& args);   // short_conv.cpp

}  // namespace lfm::vulkan
