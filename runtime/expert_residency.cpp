#include "runtime/expert_residency.h"

namespace lfm {

ExpertResidency::ExpertResidency(const Plan& plan, const Weights& weights, Device* device) : table_(weights.experts()) {
    if (device == nullptr) return;
    for (std::uint32_t layer = 0; layer < plan.model.n_layer; ++layer)
        for (std::uint32_t slot = 0; slot < plan.n_slots[layer]; ++slot) slots_.add(weights.expert_sizes(layer).slot());
    slots_.allocate(*device, Purpose::kExpertSlots);
    std::vector<CopyRegion> uploads;
    std::size_t piece = 0;
    for (std::uint32_t layer = 0; layer < plan.model.n_layer; ++layer) {
        std::uint32_t n_filled = 0;
        for (const std::uint32_t expert : plan.by_use[layer]) {
            const ExpertId id{LayerId{layer}, expert};
            if (n_filled == plan.n_slots[layer]) break;
            if (table_[id].holder != kHost) continue;
            std::byte* address = slots_.address(piece + n_filled++);
            for (const CopyRegion& region : weights.expert_sizes(layer).copy(address, weights.on_host(id)))
                uploads.push_back(region);
            table_.set(id, weights.expert_sizes(layer).at(device->id(), address));
        }
        piece += plan.n_slots[layer];
    }
    device->upload(uploads);
}

}  // namespace lfm
