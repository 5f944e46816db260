#include "planner/cost/prefill_cost.h"

#include <algorithm>
#include <cmath>
#include <numbers>

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

/// How many of a batch's tokens use an expert: each on its own, nearly a normal distribution where it matters.
struct TokensOfExpert {
    TokensOfExpert(double n_tokens, double use)
        : most(n_tokens),
          mean(n_tokens * use),
          deviation(std::max(std::sqrt(mean * (1 - use)), 1e-9)),
          any(1 - std::pow(1 - use, n_tokens)) {}

    /// P(more than n).
    double more_than(double n) const {
        return n < 1 ? any : 0.5 * std::erfc((n + 0.5 - mean) / (deviation * std::numbers::sqrt2));
    }
    /// The expectation of max(0, tokens − n).
    double excess(double n) const {
        const double z = (mean - n) / deviation;
        const double density = std::exp(-z * z / 2) / std::sqrt(2 * std::numbers::pi);
        return deviation * (z * 0.5 * std::erfc(-z / std::numbers::sqrt2) + density);
    }

    double most, mean, deviation, any;
};

/// One expert on the host: bytes once, and sums where they take longer.
double on_host(const ProcessorRates& rates, const MoeTensors& moe, std::uint32_t n_expert,
               const TokensOfExpert& tokens) {
    double seconds = 0;
    for (const auto* tensor : {&moe.gate, &moe.up, &moe.down}) {
        const double bytes = static_cast<double>(tensor->bytes.value) / n_expert * rates.matvec(tensor->type);
        const double sums = 2 * n_weights(*tensor) / n_expert * rates.gemm(tensor->type);  // of a token
        seconds += tokens.any * bytes + sums * tokens.excess(bytes / sums);
    }
    return seconds;
}

/// One expert on the device, tile by tile.
double on_device(const ProcessorRates& rates, const MoeTensors& moe, std::uint32_t n_expert,
                 const TokensOfExpert& tokens) {
    double seconds = 0, before = 0;
    for (double n = 0; n < tokens.most; n += kDeviceTileTokens) {
        const double chance = tokens.more_than(n);
        if (chance < 1e-9) break;
        const double with_tile = expert_seconds(rates, moe, n_expert, n + kDeviceTileTokens);
        seconds += chance * (with_tile - before);
        before = with_tile;
    }
    return seconds;
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
    return seconds + home_operations(layer) * rates.operation_seconds;
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
        const TokensOfExpert tokens(n_tokens, use[expert]);
        GroupTimes times;
        times.host = on_host(rates.host, moe, n_expert, tokens);
        groups.on_host += times.host;
        if (rates.device) {
            times.device = on_device(*rates.device, moe, n_expert, tokens);
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
                        const RoundTimes& round) {
    double host = 0;
    for (const GroupTimes& group : groups) host += group.host;
    GroupSplit best{0, std::max(device_seconds, routed + host)};
    // Of the rounds before the current one: when all had arrived and were computed, and each half was free again.
    double arrived = 0, computed = device_seconds, half_free[2] = {0, 0};
    double arrival = 0, end = 0, copy = 0, device = 0;  // of the current round
    for (std::uint32_t streamed = 1; streamed <= groups.size(); ++streamed) {
        const GroupTimes& group = groups[streamed - 1];
        const std::uint32_t number = (streamed - 1) / round.n_expert;
        if ((streamed - 1) % round.n_expert == 0) {
            if (number > 0) {
                arrived = arrival;
                computed = half_free[(number - 1) % 2] = end;
            }
            copy = round.copy;
            device = round.device;
        }
        host -= group.host;
        copy += group.copy;
        device += group.device;
        arrival = std::max(arrived, half_free[number % 2]) + copy;
        end = std::max(computed, arrival) + device;
        const double seconds = std::max(end, routed + std::max(host, 0.0) * host_slowdown);
        if (seconds < best.seconds) best = {streamed, seconds};
    }
    return best;
}

PrefillTime prefill_time(const ModelDescription& model, const MachineRates& rates, const Routing& routing, KvTypes kv,
                         const Placement& placement, std::uint32_t n_tokens, std::uint32_t n_outputs) {
    const HyperParameters& hyper = model.hyper;
    const double n = n_tokens;
    PrefillTime time;
    time.streamed.assign(hyper.n_layer, 0);
    const RoundTimes round{.n_expert = hyper.n_expert_used,
                           .copy = rates.link.copy_seconds,
                           .device = rates.device ? kSetOperations * rates.device->operation_seconds : 0.0};
    DeviceId at = placement.layers.empty() ? kHost : placement.layers.front().home;
    bool device_used = placement.output != kHost;
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        const LayerDescription& layer = model.layers[i];
        const LayerPlacement& place = placement.layers[i];
        if (place.home != at) time.seconds += rates.link.handshake_seconds;
        at = place.home;
        const bool device = place.home != kHost && rates.device;
        device_used = device_used || device;
        const ProcessorRates& processor = device ? *rates.device : rates.host;
        double home = home_seconds(hyper, layer, processor, kv, n);
        const auto* moe = std::get_if<MoeTensors>(&layer.ffn);
        if (moe == nullptr) {
            time.seconds += home;
            continue;
        }
        const Groups groups = expert_groups(*moe, rates, routing.use[i], place.experts.n_resident, n);
        if (!device) {
            time.seconds += home + groups.on_host + processor.operation_seconds;
            continue;
        }
        home += kChoiceOperations * processor.operation_seconds;
        if (groups.cold.empty()) {
            time.seconds += home + groups.resident + processor.operation_seconds;
            continue;
        }
        const double routed = home + rates.link.handshake_seconds + rates.host.operation_seconds;
        const double resident = home + groups.resident + kSetOperations * processor.operation_seconds;
        if (rates.link.shared_memory) {
            time.seconds += split_groups(groups.cold, routed, resident, 1, {}).seconds;
        } else {
            const GroupSplit split = split_groups(groups.cold, routed, resident, rates.link.host_slowdown, round);
            time.seconds += split.seconds;
            time.streamed[i] = split.streamed;
        }
    }
    if (placement.output != at) time.seconds += rates.link.handshake_seconds;
    if (device_used) time.seconds += rates.link.handshake_seconds;
    const bool device = placement.output != kHost && rates.device;
    const ProcessorRates& output = device ? *rates.device : rates.host;
    time.seconds += gemm_seconds(output, model.output_or_tied(), 1, n_outputs);
    time.seconds += kOutputOperations * output.operation_seconds;
    return time;
}

}  // namespace lfm
