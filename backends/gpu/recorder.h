// What operations record their launches with: kernels, their arguments, and how many groups they take. Everything that
// depends on the step is read by kernels from the step's parameters, or is the number of groups, so that a recording
// replays unchanged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/api.h"
#include "backends/grid.h"
#include "backends/scratch.h"

namespace lfm::gpu {

/// One kernel of a program. Launches of a program run one after another: each sees what those before wrote.
struct Launch {
    static constexpr std::size_t kMostPush = 160;

    Kernel kernel;
    Grid grid;
    alignas(8) std::byte push[kMostPush];
};

/// What operations may want to know of the device.
struct DeviceTraits {
    std::uint32_t n_processors = 1;  // multiprocessors or compute units
    bool multiplies_tiles = false;   // has the instructions of platform/tiles.h
    DeviceId self;                   // whose experts it computes
    ActivationKind activations = ActivationKind::kQuantised;
};

class ExpertMirrors;

/// Collects the launches of one program for one class of step.
class Recorder {
public:
    struct Parts {
        StepClass step_class = StepClass::kOne;
        const Step* step = nullptr;  // on the device
        const ExpertMirrors* experts = nullptr;
        const ScratchSizes* scratch = nullptr;
        std::byte* scratch_address = nullptr;
        DeviceTraits traits;
    };
    Recorder(const Parts& parts, std::vector<Launch>& launches) : parts_(parts), launches_(launches) {}

    StepClass step_class() const { return parts_.step_class; }
    /// The largest step.
    const BackendLimits& limits() const { return parts_.scratch->limits(); }
    const DeviceTraits& traits() const { return parts_.traits; }

    // Device addresses.
    const Step* step() const { return parts_.step; }
    /// An area that was reserved.
    template <typename T>
    T* scratch(ScratchUse use) const {
        return reinterpret_cast<T*>(parts_.scratch_address + parts_.scratch->offset(use));
    }
    /// [n_layer, n_expert]
    const ExpertEntry* expert_table(const ExpertTable* table) const;

    /// At most 65535 groups along y and z: throws Error{kUnsupportedModel} beyond that, with the largest step.
    template <typename Push>
    void launch(const Kernel& kernel, const Push& push, const Grid& grid) {
        static_assert(sizeof(Push) <= Launch::kMostPush && alignof(Push) <= 8);
        Launch& added = add(kernel, sizeof push, grid);
        std::memcpy(added.push, &push, sizeof push);
    }

private:
    /// Throws Error{kUsage} when the kernel takes other arguments.
    Launch& add(const Kernel& kernel, std::size_t push_bytes, const Grid& grid);

    Parts parts_;
    std::vector<Launch>& launches_;
};

}  // namespace lfm::gpu
