#include "planner/prefill_cost.h"

#include <algorithm>
#include <cmath>

namespace lfm {
namespace {

double n_weights(const TensorRef& tensor) {
    return static_cast<double>(tensor.dims[0]) * static_cast<double>(tensor.dims[1]) *
           static_cast<double>(tensor.dims[2]);
}

/// Matrix units work on tiles of tokens: a smaller group costs as much.
constexpr double kDeviceTileTokens = 64;

/// Sums or bytes, whichever takes longer.
double gemm_seconds(const ProcessorRates& rates, const TensorRef& tensor, double share, double n_tokens) {
    const double sums = 2 * n_tokens * n_weights(tensor) * share * rates.gemm(tensor.type);
    const double bytes = static_cast<double>(tensor.bytes.value) * share * rates.matvec(tensor.type);
    return std::max(sums, bytes);
}

double expert_seconds(const ProcessorRates& rates, const MoeTensors& moe, std::uint32_t n_expert, double n_tokens) {
    double sum = 0;
    for (const auto* tensor : {&moe.gate, &moe.up, &moe.down})
        sum += gemm_seconds(rates, *tensor, 1.0 / n_expert, n_tokens);
    return sum;
}

/// A layer but for its experts.
double home_seconds(const HyperParameters& hyper, const LayerDescription& layer, const ProcessorRates& rates,
                    KvTypes kv, double n_tokens) {
    double seconds = 0;
    const auto multiply = [&](std::initializer_list<const TensorRef*> tensors) {
        for (const TensorRef* tensor : tensors) seconds += gemm_seconds(rates, *tensor, 1, n_tokens);
    };
    if (const auto* attention = std::get_if<AttentionTensors>(&layer.mixer)) {
        multiply({&attention->q, &attention->k, &attention->v, &attention->output});
        // Scores and their products with the values, over half of the batch on average.
        const double sums = 4 * n_tokens * (n_tokens / 2) * hyper.n_head * hyper.head_dim;
        seconds += sums * rates.gemm(kv.k);
    } else {
        const auto& conv = std::get<ShortConvTensors>(layer.mixer);
        multiply({&conv.in_proj, &conv.out_proj});
    }
    if (const auto* dense = std::get_if<DenseTensors>(&layer.ffn)) {
        multiply({&dense->gate, &dense->up, &dense->down});
    } else {
        multiply({&std::get<MoeTensors>(layer.ffn).router});
    }
    return seconds + 10 * rates.operation_seconds;
}

struct Groups {
    double resident = 0;           // device seconds of the experts it holds
    std::vector<GroupTimes> cold;  // by falling number of tokens
    double on_host = 0;            // all of them there
};

Groups expert_groups(const MoeTensors& moe, const MachineRates& rates, const std::vector<double>& use,
                     std::uint32_t n_resident, double n_tokens) {
    const auto n_expert = static_cast<std::uint32_t>(use.size());
    Groups groups;
    const auto bytes = static_cast<double>(expert_bytes(moe, n_expert).value);
    std::uint32_t rank = 0;
    for (const std::uint32_t expert : by_frequency(use)) {
        const double used = 1 - std::pow(1 - use[expert], n_tokens);  // by any token
        const double tokens = used > 0 ? n_tokens * use[expert] / used : 0;
        GroupTimes times;
        times.host = used * expert_seconds(rates.host, moe, n_expert, tokens);
        groups.on_host += times.host;
        if (rates.device) {
            const double tiles = std::ceil(tokens / kDeviceTileTokens);
            times.device = used * expert_seconds(*rates.device, moe, n_expert, tiles * kDeviceTileTokens);
            times.copy = bytes * rates.link.h2d_seconds_per_byte;
            if (rank++ < n_resident)
                groups.resident += times.device;
            else
                groups.cold.push_back(times);
        }
    }
    return groups;
}

}  // namespace

GroupSplit split_groups(std::span<const GroupTimes> groups, double routed, double device_seconds, double host_slowdown,
                        double copy_latency) {
    double host = 0;
    for (const GroupTimes& group : groups) host += group.host;
    GroupSplit best{0, std::max(device_seconds, routed + host)};
    double bus = 0, device = device_seconds;
    for (std::uint32_t streamed = 1; streamed <= groups.size(); ++streamed) {
        const GroupTimes& group = groups[streamed - 1];
        host -= group.host;
        bus += copy_latency + group.copy;
        device += group.device;
        const double seconds =
            std::max({std::max(device, bus + group.device), routed + std::max(host, 0.0) * host_slowdown});
        if (seconds < best.seconds) best = {streamed, seconds};
    }
    return best;
}

PrefillTime prefill_time(const ModelDescription& model, const MachineRates& rates, const Routing& routing, KvTypes kv,
                         const Placement& placement, std::uint32_t n_tokens) {
    const HyperParameters& hyper = model.hyper;
    const double n = n_tokens;
    PrefillTime time;
    time.streamed.assign(hyper.n_layer, 0);
    DeviceId at = kHost;
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        const LayerDescription& layer = model.layers[i];
        const LayerPlacement& place = placement.layers[i];
        if (i > 0 && place.home != at) time.seconds += rates.link.handshake_seconds;
        at = place.home;
        const bool device = place.home != kHost && rates.device;
        const double home = home_seconds(hyper, layer, device ? *rates.device : rates.host, kv, n);
        const auto* moe = std::get_if<MoeTensors>(&layer.ffn);
        if (moe == nullptr) {
            time.seconds += home;
            continue;
        }
        const Groups groups = expert_groups(*moe, rates, routing.use[i], place.experts.n_resident, n);
        if (!device) {
            time.seconds += home + groups.on_host;
        } else if (groups.cold.empty()) {
            time.seconds += home + groups.resident;
        } else if (rates.link.shared_memory) {
            time.seconds +=
                split_groups(groups.cold, home + rates.link.handshake_seconds, home + groups.resident, 1, 0).seconds;
        } else {
            const GroupSplit split =
                split_groups(groups.cold, home + rates.link.handshake_seconds, home + groups.resident,
                             rates.link.host_slowdown, rates.link.copy_seconds);
            time.seconds += split.seconds;
            time.streamed[i] = split.streamed;
        }
    }
    if (placement.output != at) time.seconds += rates.link.handshake_seconds;
    const bool device = placement.output != kHost && rates.device;
    const ProcessorRates& output = device ? *rates.device : rates.host;
    time.seconds += gemm_seconds(output, model.output_or_tied(), 1, 1);  // the last token's logits
    return time;
}

}  // namespace lfm
