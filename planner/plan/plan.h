// The plan: what lives where, decided before a byte is loaded, with its reasons and what it promises. The runtime
// obeys it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "memory/units.h"
#include "planner/cost/decode_cost.h"
#include "planner/cost/inventory.h"
#include "planner/cost/placement.h"
#include "planner/machine/machine.h"
#include "planner/model/model.h"

namespace lfm {

/// What a plan was made for. Another model is recognised by the first difference.
struct ModelSummary {
    std::string architecture;
    std::string name;  // for display; not compared
    std::uint32_t n_layer = 0, n_layer_dense = 0, n_embd = 0, n_vocab = 0, n_expert = 0, n_expert_used = 0;
    Bytes weights;
    std::string tensors;  // a digest of every tensor's name, type and shape
    bool operator==(const ModelSummary&) const = default;
};
ModelSummary summarise(const ModelDescription& model);

struct PlanMachine {
    std::string name;
    std::string measured_at;  // empty: from datasheets
    MachineIdentity identity;
    /// Of the device that is used beside the host; empty: none.
    std::string device_name, device_backend;
    Bytes device_memory;
    bool operator==(const PlanMachine&) const = default;
};

enum class MemoryUse : std::uint8_t {
    kEmbedding,  // also the output when tied
    kOutput,
    kOperators,  // attention and short convolutions, norms
    kFfn,        // dense FFNs, routers
    kExperts,
    kExpertSlots,
    kKvCache,
    kConvState,
    kVectors,  // norms and taps in f32
    kActivations,
    kScratch,
    kStaging,
    kContext,
};
inline constexpr std::size_t kMemoryUses = static_cast<std::size_t>(MemoryUse::kContext) + 1;
const char* memory_use_name(MemoryUse use);

struct MemoryLine {
    DeviceId device;
    MemoryUse use;
    Bytes bytes;
    bool operator==(const MemoryLine&) const = default;
};

/// Tokens per second: with every figure at the slow end of its uncertainty, as stated, at the fast end.
struct Prediction {
    double low = 0, mid = 0, high = 0;
    bool operator==(const Prediction&) const = default;
};

/// What others' ways of splitting would give on the same budget.
struct Alternative {
    std::string name;  // "whole layers (12 of 40)"
    double decode = 0;
    bool operator==(const Alternative&) const = default;
};

struct Plan {
    SessionSizes sizes;
    // Placement.
    DeviceId embedding = kHost;
    DeviceId output = kHost;
    std::vector<DeviceId> layers;           // [n_layer]: home of operator, dense FFN or router, KV cache or conv state
    std::vector<DeviceId> experts;          // [n_layer, n_expert]; entries of dense layers are unused
    std::vector<std::uint32_t> n_slots;     // [n_layer]: places for cached experts on the device
    std::vector<std::uint32_t> n_streamed;  // [n_layer]: cold experts that travel in prefill, the most frequent first
    std::uint32_t n_staged = 0;             // places on the device for experts that are there for one step
    std::vector<std::vector<std::uint32_t>> by_use;  // [n_layer][n_expert]: the most frequent first; dense: empty
    // Why.
    std::vector<std::string> layer_reasons;   // [n_layer]
    std::vector<std::string> expert_reasons;  // [n_layer]: of those on the device, then of those in RAM
    std::string output_reason;
    std::vector<std::string> remarks;  // what was changed or assumed: a clamped budget, a default
    // For what.
    ModelSummary model;
    PlanMachine machine;
    Bytes vram_budget, ram_budget;  // after clamping
    std::string routing;            // Routing::basis
    std::uint32_t depth = 0;        // tokens in the context that decode is predicted for
    // What it promises.
    std::vector<MemoryLine> memory;
    Prediction decode, prefill;
    TimeParts decode_time;  // of one step, mid
    std::vector<Alternative> alternatives;

    Bytes used(DeviceId device) const;
    std::uint32_t n_experts_on(DeviceId device) const;  // of MoE layers
    /// Whether anything is placed elsewhere than on the host.
    bool uses_device() const;
};

/// Experts by number, as when none is known to be more frequent. Empty for dense layers.
std::vector<std::vector<std::uint32_t>> experts_by_number(const ModelSummary& model);

/// Everything in RAM, without a profile, reasons or predictions.
Plan make_host_plan(const ModelDescription& model, const SessionSizes& sizes);

/// What the cost model reckons with, of a plan.
Placement placement_of(const Plan& plan);

/// The first difference between what the plan was made for and what there is: "model.n_layer: the plan says 40, found
/// 24". Nothing when they match. A plan from datasheets asks for the device's backend and enough memory, a measured one
/// for the same machine.
std::optional<std::string> mismatch(const Plan& plan, const ModelDescription& model);
std::optional<std::string> mismatch(const Plan& plan, const MachineIdentity& machine);

}  // namespace lfm
