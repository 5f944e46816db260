// How long one decode step takes: expected over routing, layer by layer. Pure functions; the runtime calls
// split_misses for its own splits.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "planner/cost/inventory.h"
#include "planner/cost/rates.h"
#include "planner/model/model.h"
#include "planner/model/routing.h"

namespace lfm {

/// What the time goes to. Where host and device work side by side, only the longer one counts.
enum class TimePart : std::uint8_t { kHostWeights, kDeviceWeights, kAttention, kHandshakes, kOperations, kBus };
inline constexpr std::size_t kTimeParts = 6;
const char* time_part_name(TimePart part);

/// Seconds.
struct TimeParts {
    std::array<double, kTimeParts> part{};

    double& operator[](TimePart p) { return part[static_cast<std::size_t>(p)]; }
    double operator[](TimePart p) const { return part[static_cast<std::size_t>(p)]; }
    double total() const;
    TimeParts& add(const TimeParts& other, double weight = 1);
};

// Operations as runtime/step/layer_program.cpp records them.
/// Of a layer without its experts; of a MoE layer with its router.
std::uint32_t home_operations(const LayerDescription& layer);
/// At home on the device: the router's choice crosses to the host.
inline constexpr std::uint32_t kChoiceOperations = 1;
/// A layer's experts in one place, where not all are: themselves and their addition to the others.
inline constexpr std::uint32_t kSetOperations = 2;
/// A row of the table, and from the last layer to logits.
inline constexpr std::uint32_t kOutputOperations = 4;

/// Seconds of the pieces of one MoE layer's experts, one token.
struct ExpertTimes {
    double host = 0;                // one expert
    double host_while_copying = 0;  // one, with the bus busy
    double device = 0;              // one
    double copy = 0;                // one over the bus
    double shared = 0;              // one, memory that both processors read; 0: each has its own
    double host_operation = 0, device_operation = 0, handshake = 0, copy_latency = 0;
};

/// How the experts that the device does not hold are shared out.
struct MissSplit {
    std::uint32_t streamed = 0;  // over the bus, computed on the device; the rest on the host
    TimeParts time;              // of all the layer's experts
};

/// The split that ends first, for one token that meets `hits` experts on the device and `misses` elsewhere.
MissSplit split_misses(const ExpertTimes& times, std::uint32_t hits, std::uint32_t misses);

/// What a layer of a MoE model holds on the device. For other layers both are 0.
struct ExpertShare {
    std::uint32_t n_resident = 0;  // the most frequent ones
    std::uint32_t n_slots = 0;     // for a cache of others
};

/// Of every layer, for split_misses. `rates` has a device. Zeros for dense layers.
std::vector<ExpertTimes> expert_times(const ModelDescription& model, const MachineRates& rates);

class DecodeCost {
public:
    /// `depth`: tokens in the context. `rates` without a device: host functions only.
    DecodeCost(const ModelDescription& model, const MachineRates& rates, const Routing& routing, KvTypes kv,
               std::uint32_t depth);

    TimeParts host_layer(std::uint32_t layer) const { return layers_[layer].on_host; }
    TimeParts device_layer(std::uint32_t layer, ExpertShare share) const;
    TimeParts output(DeviceId device) const { return device == kHost ? output_host_ : output_device_; }
    /// Copying the activations from one device to the other.
    TimeParts border() const { return border_; }
    /// Once a step, when a device takes part: starting it, and copying the logits back.
    TimeParts step_overhead() const { return step_; }
    const Routing& routing() const { return routing_; }
    /// False where both processors read the same memory: then there is nothing to copy.
    bool has_bus() const { return rates_.device && !rates_.link.shared_memory; }
    std::uint32_t n_layer() const { return static_cast<std::uint32_t>(layers_.size()); }

private:
    struct Layer {
        TimeParts on_host;  // all of it
        TimeParts home;     // on the device, without experts
        ExpertTimes experts;
        std::int32_t hit_table = -1;  // dense: -1
        std::uint32_t n_expert = 0;
    };
    void add_experts(Layer& layer, const MoeTensors& moe, std::uint32_t n_expert_used, const std::vector<double>& use);

    const MachineRates rates_;
    const Routing routing_;
    std::vector<Layer> layers_;
    std::vector<std::vector<double>> hit_table_use_;  // sorted, one per table
    std::vector<HitTable> hit_tables_;
    TimeParts output_host_, output_device_, border_, step_;
};

}  // namespace lfm
