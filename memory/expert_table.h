// Which device holds each expert, and where: the runtime's one record of it, edited between steps only.
#pragma once

#include <cstddef>
#include <vector>

#include "memory/units.h"

namespace lfm {

/// One expert's three matrices on the device that holds them.
struct ExpertSlot {
    DeviceId holder = kHost;
    const std::byte* gate = nullptr;  // [n_ff_exp, n_embd] in file blocks
    const std::byte* up = nullptr;    // [n_ff_exp, n_embd]
    const std::byte* down = nullptr;  // [n_embd, n_ff_exp]
};

class ExpertTable {
public:
    ExpertTable() = default;
    ExpertTable(std::uint32_t n_layer, std::uint32_t n_expert)
        : n_expert_(n_expert), slots_(std::size_t{n_layer} * n_expert) {}

    std::uint32_t n_layer() const { return n_expert_ == 0 ? 0 : static_cast<std::uint32_t>(slots_.size()) / n_expert_; }
    std::uint32_t n_expert() const { return n_expert_; }
    /// Rises with every change, so that devices know when to read the table again.
    std::uint64_t version() const { return version_; }
    void set(ExpertId id, const ExpertSlot& slot) {
        slots_[std::size_t{id.layer.value} * n_expert_ + id.index] = slot;
        ++version_;
    }
    const ExpertSlot& operator[](ExpertId id) const {
        return slots_[std::size_t{id.layer.value} * n_expert_ + id.index];
    }

private:
    std::uint32_t n_expert_ = 0;
    std::uint64_t version_ = 0;
    std::vector<ExpertSlot> slots_;
};

}  // namespace lfm
