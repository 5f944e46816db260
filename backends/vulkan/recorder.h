// What operations record their dispatches with. Everything that depends on the step is read by the shaders from the
// step's parameters, or dispatched indirectly, so that a recording replays unchanged.
#pragma once

#include <volk.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "backends/backend.h"
#include "backends/device/grid.h"
#include "backends/device/scratch.h"

namespace lfm::vulkan {

class Pipelines;
class StepArea;
class ExpertMirrors;

/// A compute shader: the name of its file under shaders/ without ".comp" (and "_variant", see CMakeLists.txt), and the
/// values of its specialisation constants 0, 1, … (constant_id in the order given).
struct Kernel {
    Kernel(std::string_view name, std::initializer_list<std::uint32_t> values = {});

    static constexpr std::size_t kMaxConstants = 8;
    static constexpr std::uint32_t kActivations = 8;  // constant_id of kFloatActivations, the same for the whole device
    std::string_view shader;  // lives as long as the program: a literal, or a name of the table of shaders
    std::array<std::uint32_t, kMaxConstants> constants{};
    std::uint32_t n_constants = 0;
};

/// The address behind a view's "pointer", for push constants.
inline std::uint64_t address_of(const void* pointer) { return reinterpret_cast<std::uint64_t>(pointer); }

/// What operations may want to know of the device.
struct DeviceTraits {
    std::uint32_t subgroup_size = 0;  // the same in every shader; basic and arithmetic subgroup operations exist
    std::uint32_t shared_memory = 0;  // bytes a group may use
    DeviceId self;                    // whose experts it computes
    ActivationKind activations = ActivationKind::kQuantised;
};

/// Records one program for one class of step. `Programs` places a barrier between operations; within an operation, its
/// `lower` does.
class Recorder {
public:
    struct Parts {
        VkCommandBuffer commands = VK_NULL_HANDLE;
        StepClass step_class = StepClass::kOne;
        Pipelines* pipelines = nullptr;
        StepArea* step = nullptr;
        const ExpertMirrors* experts = nullptr;
        const ScratchSizes* scratch = nullptr;
        std::uint64_t scratch_address = 0;
        DeviceTraits traits;
    };
    explicit Recorder(const Parts& parts) : parts_(parts) {}

    StepClass step_class() const { return parts_.step_class; }
    /// The largest step.
    const BackendLimits& limits() const { return parts_.scratch->limits(); }
    const DeviceTraits& traits() const { return parts_.traits; }

    // Device addresses. shaders/step.glsl declares the first, shaders/expert_table.glsl the third.
    /// The step's parameters: StepHeader.
    std::uint64_t params() const;
    /// An area that was reserved.
    std::uint64_t scratch(ScratchUse use) const { return parts_.scratch_address + parts_.scratch->offset(use); }
    /// Per layer and expert four u64: addresses of gate, up and down, and 1 when this device holds it, else 0.
    std::uint64_t expert_table(const ExpertTable* table) const;

    /// `push` is at most 128 bytes; the shader's block of push constants is laid out as its bytes. At most 65535 groups
    /// along each axis: throws Error{kUnsupportedModel} beyond that.
    void dispatch(const Kernel& kernel, std::span<const std::byte> push, const Grid& grid);
    template <typename Push>
    void dispatch(const Kernel& kernel, const Push& push, const Grid& grid) {
        static_assert(sizeof(Push) <= 128);
        static_assert(alignof(Push) <= 8);
        dispatch(kernel, std::as_bytes(std::span(&push, 1)), grid);
    }
    /// What was dispatched before is finished, and its writes are seen, before what is dispatched after.
    void barrier();

private:
    Parts parts_;
    bool has_dispatched_ = false;
    bool barrier_due_ = false;  // placed before the next dispatch, so that consecutive calls make one barrier
};

}  // namespace lfm::vulkan
