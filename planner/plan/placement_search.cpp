#include "planner/plan/placement_search.h"

#include <algorithm>
#include <limits>

namespace lfm {
namespace {

constexpr float kNever = std::numeric_limits<float>::infinity();

}  // namespace

// The chain of layers, one after the other: seconds[home][u] is the least time of the layers so far when they take u
// units of the device and the last one's home is `home`.
PlacementSearch::PlacementSearch(const Inventory& inventory, const DecodeCost& cost, Bytes most)
    : inventory_(inventory), cost_(cost) {
    constexpr std::uint64_t kUnits = 8192;
    const std::uint64_t all = everything(inventory).value;
    unit_ = std::max<std::uint64_t>(1, all / kUnits);
    // Every layer and the output may lose a unit to rounding.
    const std::uint64_t useful = all / unit_ + inventory.layers.size() + 2;
    n_units_ = static_cast<std::uint32_t>(std::min(most.value / unit_, useful));
    output_units_ = units(output_bytes(inventory));
    for (std::uint32_t i = 0; i < cost.n_layer(); ++i) {
        options_.push_back(options(i));
        add_layer(i);
    }
}

std::uint32_t PlacementSearch::units(Bytes bytes) const {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>((bytes.value + unit_ - 1) / unit_, 1u << 30));
}

std::vector<PlacementSearch::Option> PlacementSearch::options(std::uint32_t layer) const {
    const LayerInventory& inventory = inventory_.layers[layer];
    const std::uint32_t n = inventory.n_expert;
    std::vector<std::uint32_t> slots{0};
    if (n > 0 && cost_.has_bus() && cost_.routing().locality > 0) slots = {0, n / 16, n / 8, n / 4, n / 2};
    // Beyond 128 experts a layer, not every number of them is tried.
    const std::uint32_t step = std::max(1u, n / 128);
    std::vector<Option> found;
    for (const std::uint32_t n_slots : slots) {
        for (std::uint32_t resident = 0; resident <= n; resident += std::min(step, std::max(n - resident, 1u))) {
            const ExpertShare share{resident, n_slots};
            if (n_slots > 0 && resident + n_slots >= n) break;
            const double seconds = cost_.device_layer(layer, share).total();
            found.push_back({share, units(layer_bytes(inventory, share)), static_cast<float>(seconds)});
            if (resident == n) break;
        }
    }
    // Slots that are no faster than fewer experts help nobody; experts may still have to leave RAM.
    std::ranges::stable_sort(found, {}, &Option::units);
    std::vector<Option> useful;
    float shortest = kNever;
    for (const Option& option : found) {
        if (option.units > n_units_) break;
        if (option.share.n_slots == 0 || option.seconds < shortest) useful.push_back(option);
        shortest = std::min(shortest, option.seconds);
    }
    return useful;
}

void PlacementSearch::add_layer(std::uint32_t layer) {
    const std::size_t size = n_units_ + 1;
    const auto border = static_cast<float>(cost_.border().total());
    std::vector<float> from[2] = {std::vector<float>(size, kNever), std::vector<float>(size, kNever)};
    Row row;
    for (int home : {0, 1}) {
        row.before[home].assign(size, static_cast<std::uint8_t>(home));
        row.seconds[home].assign(size, kNever);
    }
    row.option.assign(size, 0);
    if (layer == 0) {
        from[0][0] = from[1][0] = 0;
    } else {
        const Row& last = rows_.back();
        for (int home : {0, 1}) {
            const std::vector<float>&same = last.seconds[home], &other = last.seconds[1 - home];
            for (std::size_t u = 0; u < size; ++u) {
                const bool changes = other[u] + border < same[u];
                from[home][u] = changes ? other[u] + border : same[u];
                if (changes) row.before[home][u] = static_cast<std::uint8_t>(1 - home);
            }
        }
    }
    const auto on_host = static_cast<float>(cost_.host_layer(layer).total());
    for (std::size_t u = 0; u < size; ++u) row.seconds[0][u] = from[0][u] + on_host;
    // before[1] is by the units that the layers before took; trace_back looks it up there.
    const float* base = from[1].data();
    for (std::size_t number = 0; number < options_[layer].size(); ++number) {
        const Option& option = options_[layer][number];
        float* to = row.seconds[1].data() + option.units;
        std::uint16_t* chosen = row.option.data() + option.units;
        const auto name = static_cast<std::uint16_t>(number);
        const std::size_t n = size - option.units;
        for (std::size_t u = 0; u < n; ++u) {
            const float seconds = base[u] + option.seconds;
            const bool better = seconds < to[u];
            to[u] = better ? seconds : to[u];
            chosen[u] = better ? name : chosen[u];
        }
    }
    rows_.push_back(std::move(row));
}

Placement PlacementSearch::trace_back(std::uint32_t used, int home, DeviceId output) const {
    Placement placement = host_placement(rows_.size());
    placement.output = output;
    for (std::size_t i = rows_.size(); i-- > 0;) {
        LayerPlacement& layer = placement.layers[i];
        if (home == 1) {
            const Option& option = options_[i][rows_[i].option[used]];
            layer.home = kDevice;
            layer.experts = option.share;
            used -= option.units;
        }
        home = rows_[i].before[home][used];
    }
    return placement;
}

/// Of all placements that take `least` to `most` units.
std::optional<Placement> PlacementSearch::fastest(std::uint32_t least, std::uint32_t most) const {
    const auto border = static_cast<float>(cost_.border().total());
    const auto step = static_cast<float>(cost_.step_overhead().total());
    const float output[2] = {static_cast<float>(cost_.output(kHost).total()),
                             static_cast<float>(cost_.output(kDevice).total())};
    float shortest = kNever;
    std::uint32_t used = 0;
    int last_home = 0, last_output = 0;
    for (int out : {0, 1}) {
        const std::uint32_t extra = out == 1 ? output_units_ : 0;
        for (int home : {0, 1}) {
            const std::vector<float>& seconds = rows_.back().seconds[home];
            for (std::uint32_t u = least > extra ? least - extra : 0; u + extra <= most; ++u) {
                const float total =
                    seconds[u] + output[out] + (home != out ? border : 0.0f) + (u + extra > 0 ? step : 0.0f);
                if (total >= shortest) continue;
                shortest = total;
                used = u;
                last_home = home;
                last_output = out;
            }
        }
    }
    if (shortest == kNever) return std::nullopt;
    return trace_back(used, last_home, last_output == 1 ? kDevice : kHost);
}

std::optional<Placement> PlacementSearch::best(Bytes device, Bytes host) const {
    const std::uint64_t all = everything(inventory_).value;
    const std::uint64_t needed = all > host.value ? all - host.value : 0;
    const auto most = static_cast<std::uint32_t>(std::min<std::uint64_t>(device.value / unit_, n_units_));
    // Sizes are rounded up, so the first that looks large enough may not be.
    for (std::uint64_t least = needed / unit_; least <= most; ++least) {
        auto placement = fastest(static_cast<std::uint32_t>(least), most);
        if (!placement || host_bytes(inventory_, *placement) <= host) return placement;
    }
    return std::nullopt;
}

Placement PlacementSearch::fullest(Bytes device) const {
    const auto most = static_cast<std::uint32_t>(std::min<std::uint64_t>(device.value / unit_, n_units_));
    for (std::uint32_t least = most; least > 0; --least)
        if (auto placement = fastest(least, most)) return *placement;
    return host_placement(rows_.size());
}

namespace {

/// The fastest of candidates 0 … n that fits.
template <typename Make>
std::optional<WholeLayerSplit> fastest(const Inventory& inventory, const DecodeCost& cost, Bytes device, Bytes host,
                                       Make make) {
    std::optional<WholeLayerSplit> best;
    double shortest = 0;
    for (std::uint32_t n = 0; n <= cost.n_layer(); ++n) {
        for (const DeviceId output : {kHost, kDevice}) {
            Placement placement = make(n, output);
            if (placed_bytes(inventory, placement) > device || host_bytes(inventory, placement) > host) continue;
            const double seconds = step_time(cost, placement).total();
            if (best && seconds >= shortest) continue;
            shortest = seconds;
            best = WholeLayerSplit{std::move(placement), n};
        }
    }
    return best;
}

}  // namespace

std::optional<WholeLayerSplit> best_whole_layers(const Inventory& inventory, const DecodeCost& cost, Bytes device,
                                                 Bytes host) {
    return fastest(inventory, cost, device, host, [&](std::uint32_t n, DeviceId output) {
        Placement placement = host_placement(cost.n_layer());
        placement.output = output;
        for (std::uint32_t i = cost.n_layer() - n; i < cost.n_layer(); ++i)
            placement.layers[i] = {kDevice, {inventory.layers[i].n_expert, 0}};
        return placement;
    });
}

std::optional<WholeLayerSplit> best_whole_expert_layers(const Inventory& inventory, const DecodeCost& cost,
                                                        Bytes device, Bytes host) {
    return fastest(inventory, cost, device, host, [&](std::uint32_t n, DeviceId output) {
        Placement placement = host_placement(cost.n_layer());
        placement.output = output;
        for (std::uint32_t i = 0; i < cost.n_layer(); ++i) {
            placement.layers[i].home = kDevice;
            if (i >= cost.n_layer() - n) placement.layers[i].experts.n_resident = inventory.layers[i].n_expert;
        }
        return placement;
    });
}

}  // namespace lfm
