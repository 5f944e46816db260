// Names and limits of plans as JSON, for reading and writing alike.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "planner/plan/plan.h"

namespace lfm {

inline constexpr const char* kPlanFormatName = "lfm-plan";
inline constexpr const char* kPlanSchema = "plan.schema.json";

inline constexpr std::size_t kMaxIdentityParts = 64;  // keys that an object may have
inline constexpr std::uint64_t kMaxPlanBytes = std::uint64_t{1} << 50;
inline constexpr std::uint32_t kMaxPlanTokens = 1u << 30;  // of a context
inline constexpr std::uint32_t kMaxPlanBatch = 1u << 16;
inline constexpr std::uint32_t kMaxPlanSequences = 1024;  // together at most kMaxPlanTokens of context
inline constexpr std::uint32_t kMaxPlanSaved = 1u << 16;
inline constexpr double kMostPerSecond = 1e12;  // tokens
inline constexpr double kMostSeconds = 1e9;

/// "host" or "device": a plan uses one beside the host.
const char* place_name(DeviceId device);

/// Nothing for a name that memory_use_name, time_part_name do not give.
std::optional<MemoryUse> memory_use_from_name(std::string_view name);
std::optional<TimePart> time_part_from_name(std::string_view name);

}  // namespace lfm
