// What operations record their launches with: kernels, their arguments, and how many groups they take. Everything that
// depends on the step is read by kernels from the step's parameters, or is the number of groups, so that a recording
// replays unchanged.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "backends/backend.h"
#include "backends/device/grid.h"
#include "backends/device/scratch.h"
#include "backends/gpu/kernels/step.h"
#include "backends/gpu/platform/api.h"

namespace lfm::gpu {

/// One kernel of a program. Launches of a program run one after another: each sees what those before wrote.
struct Launch {
    static constexpr std::size_t kMostPush = 192;

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

/// The scratch areas of a quantised input.
struct QuantisedAreas {
    ScratchUse q, scales, sums;
};
inline constexpr QuantisedAreas kInputAreas{ScratchUse::kQuantised, ScratchUse::kQuantisedScale,
                                            ScratchUse::kQuantisedSum};
inline constexpr QuantisedAreas kHiddenAreas{ScratchUse::kHidden, ScratchUse::kHiddenScale, ScratchUse::kHiddenSum};

class ExpertMirrors;

/// Collects the launches of one program for one class of step.
class Recorder {
public:
    struct Parts {
        StepClass step_class = StepClass::kOne;
        const Step* step = nullptr;        // on the device
        std::uint32_t* tickets = nullptr;  // there too
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
    /// kMostTickets (kernels/step.h).
    std::uint32_t* tickets() const { return parts_.tickets; }
    /// An area that was reserved.
    template <typename T>
    T* scratch(ScratchUse use) const {
        return reinterpret_cast<T*>(parts_.scratch_address + parts_.scratch->offset(use));
    }
    /// [n_layer, n_expert]
    const ExpertEntry* expert_table(const ExpertTable* table) const;
    /// How many of the kernel's groups a processor of the device runs at a time, at least 1. Throws Error{kUsage} or
    /// Error{kShortfall} when the kernel cannot be loaded.
    std::uint32_t groups_at_once(const Kernel& kernel) const;

    std::uint32_t n_launches() const { return static_cast<std::uint32_t>(launches_.size()); }

    // Rows whose quantised form is kept in scratch too, so that readers need not quantise them again.
    /// Whether a later operation reads, in quantised form, the rows that the one being lowered makes.
    bool wants_quantised() const { return wants_quantised_; }
    void want_quantised(bool wanted) { wants_quantised_ = wanted; }
    /// A launch writes the rows' quantised form to `areas`, which then hold nothing else.
    void made_quantised(const RowsView& rows, const QuantisedAreas& areas) { quantised_in(areas) = rows; }
    /// The areas are taken for other data: no rows lie there any more.
    void claim(const QuantisedAreas& areas) { quantised_in(areas) = {}; }
    /// The areas that hold their quantised form; null: none do.
    const QuantisedAreas* quantised(const RowsView& rows) const {
        for (const auto& [areas, held] : quantised_)
            if (held.data != nullptr && held.data == rows.data && held.n_cols == rows.n_cols) return &areas;
        return nullptr;
    }
    /// Forgets the quantised form of rows for which is_over(rows, n_cols).
    template <typename Function>
    void forget_quantised(const Function& is_over) {
        for (auto& [areas, held] : quantised_)
            if (held.data != nullptr && is_over(held.data, held.n_cols)) held = {};
    }

    /// Records a launch. Throws Error{kUnsupportedModel} when the largest step has more than 65535 groups along y or
    /// z.
    template <typename Push>
    void launch(const Kernel& kernel, const Push& push, const Grid& grid) {
        static_assert(sizeof(Push) <= Launch::kMostPush);
        static_assert(alignof(Push) <= 8);
        Launch& added = add(kernel, sizeof push, grid);
        std::memcpy(added.push, &push, sizeof push);
    }

private:
    /// Throws Error{kUsage} when the kernel takes other arguments.
    Launch& add(const Kernel& kernel, std::size_t push_bytes, const Grid& grid);

    struct Quantised {
        QuantisedAreas areas;
        RowsView rows;  // null: nobody's
    };
    RowsView& quantised_in(const QuantisedAreas& areas) { return quantised_[areas.q == kInputAreas.q ? 0 : 1].rows; }

    Parts parts_;
    std::vector<Launch>& launches_;
    bool wants_quantised_ = false;
    std::array<Quantised, 2> quantised_{Quantised{kInputAreas, {}}, Quantised{kHiddenAreas, {}}};
};

}  // namespace lfm::gpu
