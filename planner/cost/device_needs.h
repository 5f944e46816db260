// What a device takes beside what is placed there, by the numbers of backends/needs, for the operations that
// runtime/step/layer_program.cpp puts on the device. Sizes hold for a placement; none takes more than `most`.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "planner/cost/inventory.h"
#include "planner/cost/placement.h"

namespace lfm {

/// The largest sizes among the operations of some programs; working memory follows from them.
struct OperationSizes {
    std::uint64_t n_input = 0;            // columns that a matmul reads
    std::uint64_t n_quantised_input = 0;  // columns that a matmul with quantised weights reads
    std::uint64_t n_quantised_ff = 0;     // as those of an expert's down matrix
    std::uint64_t n_between = 0;          // of a row that a dense layer, or a short convolution, makes of another
    std::uint32_t n_routed = 0;           // MoE layers up to the last that chooses experts
    bool attends = false, computes_experts = false;
};

/// Of the layers and the output that `placement` puts on the device.
OperationSizes operation_sizes(const ModelDescription& model, const Placement& placement);

/// Everything on the device.
Placement device_placement(const ModelDescription& model);

/// Between the parts of an operation, as backends/cpu takes it.
Bytes cpu_scratch(const HyperParameters& hyper, const OperationSizes& sizes, std::uint64_t n_batch);

/// Of one session on one device, in bytes of the device's budget.
class DeviceNeeds {
public:
    /// `backend`: DeviceProfile::backend. "vulkan" as in backends/vulkan, "cuda" and "hip" as in backends/gpu; any
    /// other is reckoned as the CPU's kernels on a device, as "sim" is. References are kept.
    DeviceNeeds(const ModelDescription& model, const SessionSizes& sizes, std::string_view backend)
        : model_(model),
          sizes_(sizes),
          kind_(backend == "vulkan"                     ? Kind::kVulkan
                : backend == "cuda" || backend == "hip" ? Kind::kGpu
                : backend == "emulated"                 ? Kind::kEmulatedGpu
                                                        : Kind::kOther) {}

    /// Between the parts of an operation, copies of a step's parameters and of the expert table, and what is lost
    /// where pieces and blocks of memory are rounded up.
    Bytes scratch(const Placement& placement) const;
    Bytes most_scratch() const;

    /// Places for `n_staged` experts that are there for one step, the rest of the blocks that cached experts lie in,
    /// and a map of the staged for each round. `n_streamed` [n_layer]: experts that travel in prefill. Nothing where no
    /// layer on the device has experts elsewhere.
    Bytes staging(const Placement& placement, std::span<const std::uint32_t> n_streamed, std::uint32_t n_staged) const;
    Bytes most_staging(std::uint32_t n_staged) const;

private:
    enum class Kind : std::uint8_t { kVulkan, kGpu, kEmulatedGpu, kOther };

    Bytes vulkan_scratch(const OperationSizes& work) const;
    Bytes gpu_scratch(const OperationSizes& work) const;
    std::uint64_t hidden_values(const OperationSizes& work) const;
    /// What a step is described with: its header and sequences; the rest but for what lies in the gap between.
    std::uint64_t step_header_bytes() const;
    Bytes step_bytes(const OperationSizes& work) const;
    Bytes other_scratch(const OperationSizes& work) const;
    Bytes rounding(const Placement& placement) const;
    Bytes block_rest() const;

    const ModelDescription& model_;
    const SessionSizes& sizes_;
    Kind kind_;
};

}  // namespace lfm
