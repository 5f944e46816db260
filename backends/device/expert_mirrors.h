// Copies of expert tables where kernels read them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "backends/backend.h"
#include "backends/needs/device_needs.h"
#include "memory/error.h"

namespace lfm {

/// As kernels declare it (backends/vulkan/shaders/expert_table.glsl, backends/gpu/kernels/step.h).
struct MirroredExpert {
    std::uint64_t gate = 0, up = 0, down = 0;  // addresses
    std::uint64_t is_held = 0;                 // 1: by this device
};

static_assert(sizeof(MirroredExpert) == needs::kMirroredExpertBytes);

/// `Block` is the backend's memory that the host writes and the device reads: host(), size(). Move-only.
template <typename Block>
class ExpertMirrors {
public:
    using Take = std::function<Block(std::size_t n_bytes)>;

    ExpertMirrors(DeviceId self, Take take) : self_(self), take_(std::move(take)) {}

    /// Takes memory for the table that the operation names, if it is a new one.
    void include(const Operation& operation) {
        const ExpertTable* table = table_of(operation);
        if (table == nullptr || std::ranges::find(mirrors_, table, &Mirror::table) != mirrors_.end()) return;
        mirrors_.push_back({table, take_(n_experts(*table) * sizeof(MirroredExpert)), {}});
    }
    /// Gives back the memory of tables that none of the operations names; `named(table)` says whether one does.
    template <typename Named>
    void keep_only(const Named& named) {
        std::erase_if(mirrors_, [&](const Mirror& mirror) { return !named(mirror.table); });
    }
    static const ExpertTable* table_of(const Operation& operation) {
        const auto* ffn = std::get_if<ExpertFfnArgs>(&operation);
        return ffn != nullptr ? ffn->experts : nullptr;
    }

    /// Throws Error{kUsage} for a table that no operation named.
    const Block& block(const ExpertTable* table) const {
        const auto mirror = std::ranges::find(mirrors_, table, &Mirror::table);
        if (mirror == mirrors_.end())
            throw Error(ErrorCode::kUsage, "expert table", "expected one that a program names, found another");
        return mirror->block;
    }

    /// Writes the tables that changed, then calls written(block). Nothing may be running.
    template <typename Written>
    void refresh(const Written& written) {
        for (Mirror& mirror : mirrors_) {
            if (mirror.version == mirror.table->version()) continue;
            write(*mirror.table, mirror.block.host());
            written(mirror.block);
            mirror.version = mirror.table->version();
        }
    }

private:
    struct Mirror {
        const ExpertTable* table;
        Block block;
        std::optional<std::uint64_t> version;
    };

    static std::size_t n_experts(const ExpertTable& table) { return std::size_t{table.n_layer()} * table.n_expert(); }
    static std::uint64_t address(const std::byte* data) { return reinterpret_cast<std::uint64_t>(data); }

    void write(const ExpertTable& table, std::byte* to) const {
        for (std::uint32_t layer = 0; layer < table.n_layer(); ++layer)
            for (std::uint32_t i = 0; i < table.n_expert(); ++i) {
                const ExpertSlot& slot = table[{LayerId{layer}, i}];
                const MirroredExpert expert{address(slot.gate), address(slot.up), address(slot.down),
                                            slot.holder == self_ ? 1u : 0u};
                std::memcpy(to, &expert, sizeof expert);
                to += sizeof expert;
            }
    }

    DeviceId self_;
    Take take_;
    std::vector<Mirror> mirrors_;
};

}  // namespace lfm
