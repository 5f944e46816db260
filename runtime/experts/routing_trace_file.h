// Recorded routing as a file: which experts each token of a run used, layer by layer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "planner/model/model.h"

namespace lfm {

inline constexpr std::uint32_t kRoutingTraceVersion = 1;

/// The largest file that is written or read.
inline constexpr std::uint64_t kMaxRoutingTraceBytes = std::uint64_t{1} << 30;

struct RecordedRouting {
    std::uint32_t n_layer = 0, n_layer_dense = 0, n_expert = 0, n_expert_used = 0;
    std::vector<std::uint16_t> choices;  // [n_tokens, n_moe_layer, n_expert_used]

    std::uint32_t n_moe_layer() const { return n_layer - n_layer_dense; }
    std::size_t choices_per_token() const { return std::size_t{n_moe_layer()} * n_expert_used; }
    std::size_t n_tokens() const { return choices.size() / choices_per_token(); }
};

/// No token yet. Throws Error{kUnsupportedModel} for a model without experts, or with more than 16 bits can name.
RecordedRouting make_recorded_routing(const HyperParameters& hyper);

/// Little-endian: the 8 bytes "LFMROUTE"; version, n_layer, n_layer_dense, n_expert, n_expert_used as u32 and n_tokens
/// as u64; the choices as u16; FNV-1a of all bytes before, 64 bits. Throws Error{kInvalidInput} for more than
/// kMaxRoutingTraceBytes: nothing is written that cannot be read.
std::string routing_trace_bytes(const RecordedRouting& routing);

/// `source` begins every message. Throws Error{kInvalidInput} for a damaged file, one of another version and one of
/// another model. Allocates no more than the file's size.
RecordedRouting parse_routing_trace(std::string_view bytes, std::string_view source, const HyperParameters& hyper);

/// Throws also Error{kIo} for a file that cannot be read or is no regular one.
RecordedRouting read_routing_trace(const std::string& path, const HyperParameters& hyper);

}  // namespace lfm
