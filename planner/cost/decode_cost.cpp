#include "planner/cost/decode_cost.h"

#include <algorithm>
#include <cmath>

namespace lfm {
namespace {

/// Reading a matrix once.
double matvec_seconds(const ProcessorRates& rates, const TensorRef& tensor) {
    return static_cast<double>(tensor.bytes.value) * rates.matvec(tensor.type);
}

/// One expert of a tensor with n_expert of them.
double expert_seconds(const ProcessorRates& rates, const MoeTensors& moe, std::uint32_t n_expert) {
    double sum = 0;
    for (const auto* tensor : {&moe.gate, &moe.up, &moe.down}) sum += matvec_seconds(rates, *tensor) / n_expert;
    return sum;
}

/// A layer but for its experts, on one processor.
TimeParts home_time(const HyperParameters& hyper, const LayerDescription& layer, const ProcessorRates& rates,
                    TimePart weights, KvTypes kv, std::uint32_t depth) {
    TimeParts time;
    time[TimePart::kOperations] = home_operations(layer) * rates.operation_seconds;
    if (const auto* attention = std::get_if<AttentionTensors>(&layer.mixer)) {
        for (const auto* tensor : {&attention->q, &attention->k, &attention->v, &attention->output})
            time[weights] += matvec_seconds(rates, *tensor);
        const std::uint64_t n = std::uint64_t{attention->n_head_kv} * hyper.head_dim;
        const std::uint64_t bytes = (row_bytes(kv.k, n) + row_bytes(kv.v, n)) * (std::uint64_t{depth} + 1);
        time[TimePart::kAttention] += static_cast<double>(bytes) * rates.attention_seconds_per_byte;
    } else {
        const auto& conv = std::get<ShortConvTensors>(layer.mixer);
        time[weights] += matvec_seconds(rates, conv.in_proj) + matvec_seconds(rates, conv.out_proj);
    }
    if (const auto* dense = std::get_if<DenseTensors>(&layer.ffn)) {
        for (const auto* tensor : {&dense->gate, &dense->up, &dense->down})
            time[weights] += matvec_seconds(rates, *tensor);
    } else {
        time[weights] += matvec_seconds(rates, std::get<MoeTensors>(layer.ffn).router);
    }
    return time;
}

TimeParts output_time(const ModelDescription& model, const ProcessorRates& rates, TimePart weights) {
    TimeParts time;
    time[weights] = matvec_seconds(rates, model.output_or_tied());
    time[TimePart::kOperations] = kOutputOperations * rates.operation_seconds;
    return time;
}

/// A choice that is not pinned is in the cache because it repeats, or by chance.
double slot_hit_rate(const Routing& routing, ExpertShare share, std::uint32_t n_expert, std::uint32_t k) {
    if (share.n_slots == 0 || share.n_resident >= n_expert) return 0;
    const double by_chance = std::min(1.0, double(share.n_slots) / (n_expert - share.n_resident));
    // A cache smaller than one token's misses is emptied before anything comes again.
    const double repeats = share.n_slots >= k ? routing.locality : 0;
    return repeats + (1 - repeats) * by_chance;
}

/// P(j of n succeed).
double binomial(std::uint32_t n, std::uint32_t j, double p) {
    double value = 1;
    for (std::uint32_t i = 0; i < j; ++i) value *= double(n - i) / (i + 1) * p;
    return value * std::pow(1 - p, n - j);
}

}  // namespace

std::uint32_t home_operations(const LayerDescription& layer) {
    const std::uint32_t mixer = layer.is_attention() ? 5 : 3;
    const std::uint32_t ffn = layer.is_moe() ? 1 : 3;
    return 4 + mixer + ffn;  // two norms, two additions
}

const char* time_part_name(TimePart part) {
    switch (part) {
        case TimePart::kHostWeights: return "RAM: weights";
        case TimePart::kDeviceWeights: return "VRAM: weights";
        case TimePart::kAttention: return "attention";
        case TimePart::kHandshakes: return "handshakes";
        case TimePart::kOperations: return "operations";
        case TimePart::kBus: return "bus";
    }
    return "";
}

double TimeParts::total() const {
    double sum = 0;
    for (const double p : part) sum += p;
    return sum;
}

TimeParts& TimeParts::add(const TimeParts& other, double weight) {
    for (std::size_t i = 0; i < part.size(); ++i) part[i] += weight * other.part[i];
    return *this;
}

MissSplit split_misses(const ExpertTimes& times, std::uint32_t hits, std::uint32_t misses) {
    MissSplit best;
    double shortest = 0;
    const std::uint32_t most = times.shared > 0 ? 0 : misses;
    for (std::uint32_t streamed = 0; streamed <= most; ++streamed) {
        const std::uint32_t on_host = misses - streamed;
        const double set_operations = kSetOperations * times.device_operation;
        const double operations = set_operations * (streamed > 0 ? 2 : 1);
        const double device_work = operations + (hits + streamed) * times.device;
        const double arrival = streamed > 0 ? times.handshake + times.copy_latency + streamed * times.copy : 0.0;
        const double device = std::max(device_work, streamed > 0 ? arrival + set_operations + times.device : 0.0);
        const double host_work = on_host * (streamed > 0 ? times.host_while_copying : times.host);
        const double host = times.handshake + (on_host > 0 ? times.host_operation + host_work : 0.0);
        const double together = (hits + misses) * times.shared;
        const double seconds = std::max({device, host, together});
        if (streamed > 0 && seconds >= shortest) continue;
        shortest = seconds;
        best.streamed = streamed;
        best.time = {};
        if (host >= device && host >= together) {
            best.time[TimePart::kHandshakes] = times.handshake;
            best.time[TimePart::kOperations] = on_host > 0 ? times.host_operation : 0;
            best.time[TimePart::kHostWeights] = on_host > 0 ? host_work : 0;
        } else if (together > device) {
            best.time[TimePart::kHostWeights] = together;
        } else if (device > device_work) {
            best.time[TimePart::kBus] = arrival;
            best.time[TimePart::kOperations] = set_operations;
            best.time[TimePart::kDeviceWeights] = times.device;
        } else {
            best.time[TimePart::kOperations] = operations;
            best.time[TimePart::kDeviceWeights] = device_work - operations;
        }
    }
    return best;
}

namespace {

ExpertTimes times_of(const MoeTensors& moe, const MachineRates& rates, std::uint32_t n_expert) {
    ExpertTimes times;
    times.host = expert_seconds(rates.host, moe, n_expert);
    times.host_operation = rates.host.operation_seconds;
    if (!rates.device) return times;
    const LinkRates& link = rates.link;
    times.host_while_copying = times.host * link.host_slowdown;
    times.device = expert_seconds(*rates.device, moe, n_expert);
    times.device_operation = rates.device->operation_seconds;
    times.handshake = link.handshake_seconds;
    times.copy_latency = link.copy_seconds;
    times.copy = static_cast<double>(expert_bytes(moe, n_expert).value) * link.h2d_seconds_per_byte;
    if (link.shared_memory)
        times.shared = static_cast<double>(expert_bytes(moe, n_expert).value) * link.shared_seconds_per_byte;
    return times;
}

}  // namespace

std::vector<ExpertTimes> expert_times(const ModelDescription& model, const MachineRates& rates) {
    std::vector<ExpertTimes> layers(model.hyper.n_layer);
    for (std::uint32_t i = 0; i < model.hyper.n_layer; ++i)
        if (const auto* moe = std::get_if<MoeTensors>(&model.layers[i].ffn))
            layers[i] = times_of(*moe, rates, model.hyper.n_expert);
    return layers;
}

DecodeCost::DecodeCost(const ModelDescription& model, const MachineRates& rates, const Routing& routing, KvTypes kv,
                       std::uint32_t depth)
    : rates_(rates), routing_(routing) {
    const HyperParameters& hyper = model.hyper;
    for (std::uint32_t i = 0; i < hyper.n_layer; ++i) {
        const LayerDescription& from = model.layers[i];
        Layer layer;
        layer.on_host = home_time(hyper, from, rates_.host, TimePart::kHostWeights, kv, depth);
        if (rates_.device) layer.home = home_time(hyper, from, *rates_.device, TimePart::kDeviceWeights, kv, depth);
        if (const auto* moe = std::get_if<MoeTensors>(&from.ffn)) {
            if (rates_.device)
                layer.home[TimePart::kOperations] += kChoiceOperations * rates_.device->operation_seconds;
            layer.n_expert = hyper.n_expert;
            add_experts(layer, *moe, hyper.n_expert_used, routing_.use[i]);
        }
        layers_.push_back(layer);
    }
    output_host_ = output_time(model, rates_.host, TimePart::kHostWeights);
    if (!rates_.device) return;
    output_device_ = output_time(model, *rates_.device, TimePart::kDeviceWeights);
    border_[TimePart::kHandshakes] = rates_.link.handshake_seconds;
    step_[TimePart::kHandshakes] = rates_.link.handshake_seconds;
}

void DecodeCost::add_experts(Layer& layer, const MoeTensors& moe, std::uint32_t n_expert_used,
                             const std::vector<double>& use) {
    const std::uint32_t n_expert = layer.n_expert;
    ExpertTimes& times = layer.experts;
    times = times_of(moe, rates_, n_expert);
    layer.on_host[TimePart::kHostWeights] += n_expert_used * times.host;
    layer.on_host[TimePart::kOperations] += times.host_operation;
    if (!rates_.device) return;
    std::vector<double> sorted(use);
    std::ranges::sort(sorted, std::greater<>());
    const auto known = std::ranges::find(hit_table_use_, sorted);
    layer.hit_table = static_cast<std::int32_t>(known - hit_table_use_.begin());
    if (known != hit_table_use_.end()) return;
    hit_tables_.emplace_back(sorted, n_expert_used);
    hit_table_use_.push_back(std::move(sorted));
}

TimeParts DecodeCost::device_layer(std::uint32_t index, ExpertShare share) const {
    const Layer& layer = layers_[index];
    TimeParts time = layer.home;
    if (layer.hit_table < 0) return time;
    const HitTable& table = hit_tables_[static_cast<std::size_t>(layer.hit_table)];
    const std::uint32_t k = table.k();
    if (share.n_resident >= layer.n_expert) {  // the host is not needed
        time[TimePart::kOperations] += layer.experts.device_operation;
        time[TimePart::kDeviceWeights] += k * layer.experts.device;
        return time;
    }
    const double cached = slot_hit_rate(routing_, share, layer.n_expert, k);
    std::vector<double> chance(k + 1, 0.0);  // of that many hits, pinned and cached
    const double* pinned = table.hits(share.n_resident);
    for (std::uint32_t h = 0; h <= k; ++h)
        for (std::uint32_t j = 0; j <= k - h; ++j)
            if (pinned[h] > 0) chance[h + j] += pinned[h] * binomial(k - h, j, cached);
    double misses = 0;
    TimeParts experts;
    for (std::uint32_t h = 0; h <= k; ++h) {
        if (chance[h] < 1e-12) continue;
        experts.add(split_misses(layer.experts, h, k - h).time, chance[h]);
        misses += chance[h] * (k - h);
    }
    // Filling slots goes on beside everything else, until the bus is the bottleneck.
    const double fill = share.n_slots > 0 ? misses * layer.experts.copy : 0;
    const double rest = fill - time.total() - experts.total();
    if (rest > 0) experts[TimePart::kBus] += rest;
    return time.add(experts);
}

}  // namespace lfm
