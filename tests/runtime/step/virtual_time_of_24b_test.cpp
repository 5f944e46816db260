// How long steps of the largest model take on a simulated machine, beside the least that they could take and beside
// what the plan says. Virtual time; no arithmetic.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>

#include "planner/cost/placement.h"
#include "planner/machine/machine_json.h"
#include "planner/model/shape.h"
#include "planner/plan/make_plan.h"
#include "runtime/session/session.h"
#include "runtime/step/simulation.h"
#include "tests/program_folder.h"

namespace lfm::test {
namespace {

constexpr std::uint32_t kPrompt = 512;
constexpr std::uint32_t kDecoded = 50;
constexpr std::uint32_t kContext = 1024;

MachineProfile stored_machine() {
    std::vector<MachinePart> parts;
    for (const char* name : {"gpu/rtx-4060-ti-16gb", "host/ddr5-5600"}) {
        const std::string path = profiles_folder() / (std::string(name) + ".json");
        std::ifstream file(path);
        parts.push_back(parse_machine_part(std::string(std::istreambuf_iterator(file), {}), path));
    }
    return merge_parts(parts, nullptr);
}

/// Random experts for every layer and token: drawn on their own by their frequency, on condition that there are as many
/// as a token uses, as the plan takes it.
class RandomRouting {
public:
    RandomRouting(const HyperParameters& hyper, const Routing& routing, std::uint32_t n_tokens) : hyper_(hyper) {
        std::mt19937 random(5);
        std::uniform_real_distribution<double> chance(0, 1);
        for (std::uint32_t layer = hyper.n_layer_dense; layer < hyper.n_layer; ++layer)
            for (std::uint32_t token = 0; token < n_tokens; ++token) {
                std::vector<std::int32_t> drawn;
                while (drawn.size() != hyper.n_expert_used) {
                    drawn.clear();
                    for (std::uint32_t e = 0; e < hyper.n_expert && drawn.size() <= hyper.n_expert_used; ++e)
                        if (chance(random) < routing.use[layer][e]) drawn.push_back(static_cast<std::int32_t>(e));
                }
                experts_.insert(experts_.end(), drawn.begin(), drawn.end());
            }
        n_tokens_ = n_tokens;
    }

    std::int32_t expert(std::uint32_t moe_layer, std::uint32_t position, std::uint32_t choice) const {
        return experts_[(std::size_t{moe_layer} * n_tokens_ + position) * hyper_.n_expert_used + choice];
    }
    /// [n_expert]: tokens of a step that use each.
    std::vector<std::uint32_t> counts(std::uint32_t layer, std::uint32_t position, std::uint32_t n_tokens) const {
        std::vector<std::uint32_t> counts(hyper_.n_expert);
        for (std::uint32_t t = position; t < position + n_tokens; ++t)
            for (std::uint32_t j = 0; j < hyper_.n_expert_used; ++j)
                ++counts[static_cast<std::size_t>(expert(layer - hyper_.n_layer_dense, t, j))];
        return counts;
    }

private:
    const HyperParameters& hyper_;
    std::uint32_t n_tokens_ = 0;
    std::vector<std::int32_t> experts_;
};

struct Step {
    std::uint32_t position = 0, n_tokens = 1;
};

/// The least that a step could take: every operation of the model once, at the machine's rates, nothing waiting but for
/// routing, the host's experts and the bus, whichever experts travel. All layers are at home on the device.
class Bound {
public:
    Bound(const ModelDescription& model, const Plan& plan, const MachineRates& rates, const RandomRouting& routing)
        : model_(model), plan_(plan), rates_(rates), routing_(routing) {}

    double seconds(const Step& step) const {
        const ProcessorRates& device = *rates_.device;
        double always = rates_.link.handshake_seconds;
        always += 4 * device.operation_seconds;  // a row of the embedding; the last row, its norm and its logits
        always += matrix(device, model_.output_or_tied(), 1, {step.position, 1}, 1);
        std::vector<std::vector<Share>> layers;
        for (std::uint32_t layer = 0; layer < model_.hyper.n_layer; ++layer) {
            always += before_experts(layer, step);
            if (model_.layers[layer].is_moe()) layers.push_back(shares(layer, step));
        }
        // A step is as long as its work and as its copies, so as any mean of both; each mean is least layer by layer.
        double longest = 0;
        for (double bus = 0; bus <= 1; bus += 1.0 / 16) {
            double sum = (1 - bus) * always;
            for (const auto& layer : layers) {
                double least = std::numeric_limits<double>::infinity();
                for (const Share& share : layer) least = std::min(least, (1 - bus) * share.work + bus * share.copies);
                sum += least;
            }
            longest = std::max(longest, sum);
        }
        return longest;
    }

private:
    /// Seconds of a layer's experts, when so many of them travel.
    struct Share {
        double work = 0;    // of device and host side by side, to the sum of all
        double copies = 0;  // beside the step's other work
    };

    double matrix(const ProcessorRates& rates, const TensorRef& tensor, double share, const Step& step,
                  double n_tokens) const {
        const double bytes = static_cast<double>(tensor.bytes.value) * share * rates.matvec(tensor.type);
        if (step.n_tokens == 1) return bytes;
        const double weights = static_cast<double>(tensor.dims[0] * tensor.dims[1] * tensor.dims[2]) * share;
        return std::max(bytes, 2 * n_tokens * weights * rates.gemm(tensor.type));
    }

    double before_experts(std::uint32_t layer, const Step& step) const {
        const ProcessorRates& rates = *rates_.device;
        const HyperParameters& hyper = model_.hyper;
        const LayerDescription& from = model_.layers[layer];
        const double n = step.n_tokens;
        double sum = 0;
        std::uint32_t n_operations = 3;  // two norms, one addition: the experts' is theirs
        const auto multiply = [&](std::initializer_list<const TensorRef*> tensors) {
            for (const TensorRef* tensor : tensors) sum += matrix(rates, *tensor, 1, step, n);
        };
        if (const auto* attention = std::get_if<AttentionTensors>(&from.mixer)) {
            multiply({&attention->q, &attention->k, &attention->v, &attention->output});
            const std::uint64_t n_kv = std::uint64_t{attention->n_head_kv} * hyper.head_dim;
            const auto row = static_cast<double>(2 * row_bytes(DType::kF16, n_kv));
            sum += step.n_tokens == 1
                       ? row * (step.position + 1) * rates.attention_seconds_per_byte
                       : 4 * n * (step.position + n / 2) * hyper.n_head * hyper.head_dim * rates.gemm(DType::kF16);
            n_operations += 5;
        } else {
            const auto& conv = std::get<ShortConvTensors>(from.mixer);
            multiply({&conv.in_proj, &conv.out_proj});
            n_operations += 3;
        }
        if (const auto* dense = std::get_if<DenseTensors>(&from.ffn)) {
            multiply({&dense->gate, &dense->up, &dense->down});
            n_operations += 4;  // with the addition
        } else {
            multiply({&std::get<MoeTensors>(from.ffn).router});
            n_operations += 1;
        }
        return sum + n_operations * rates.operation_seconds;
    }

    double expert(const ProcessorRates& rates, const MoeTensors& moe, const Step& step, double n_tokens) const {
        double sum = 0;
        for (const auto* tensor : {&moe.gate, &moe.up, &moe.down})
            sum += matrix(rates, *tensor, 1.0 / model_.hyper.n_expert, step, n_tokens);
        return sum;
    }

    /// With 0, 1, … of the host's experts travelling, the most frequent first. Those of a single token are known when
    /// it has been routed; those of a prompt before.
    std::vector<Share> shares(std::uint32_t layer, const Step& step) const {
        const ProcessorRates& device = *rates_.device;
        const LinkRates& link = rates_.link;
        const bool single = step.n_tokens == 1;
        const auto& moe = std::get<MoeTensors>(model_.layers[layer].ffn);
        const std::vector<std::uint32_t> counts = routing_.counts(layer, step.position, step.n_tokens);
        const auto on_device = [&](std::uint32_t n) {
            return n == 0 ? 0 : expert(device, moe, step, single ? n : (n + 63) / 64 * 64);
        };
        double hot = device.operation_seconds;
        std::vector<std::uint32_t> cold;  // tokens of each
        double on_host = 0;
        bool any_elsewhere = false;
        for (const std::uint32_t e : plan_.by_use[layer]) {
            if (plan_.experts[std::size_t{layer} * model_.hyper.n_expert + e] != kHost) {
                hot += on_device(counts[e]);
                continue;
            }
            any_elsewhere = true;
            if (counts[e] > 0) {
                cold.push_back(counts[e]);
                on_host += expert(rates_.host, moe, step, counts[e]);
            }
        }
        const double add = device.operation_seconds;
        if (!any_elsewhere) return {{hot + add, 0}};
        const double bytes = static_cast<double>(expert_bytes(moe, model_.hyper.n_expert).value);
        // In a prompt some layer's experts are always on their way, if any travel.
        const bool bus_busy = !single && std::ranges::any_of(plan_.n_streamed, [](std::uint32_t k) { return k > 0; });
        std::vector<Share> shares;
        for (std::uint32_t n = 0; n <= cold.size(); ++n) {
            if (n > 0) {
                hot += on_device(cold[n - 1]);
                on_host -= expert(rates_.host, moe, step, cold[n - 1]);
            }
            double host = link.handshake_seconds;
            if (n < cold.size())
                host += rates_.host.operation_seconds + on_host * (n > 0 || bus_busy ? link.host_slowdown : 1);
            const double copies = n > 0 ? link.copy_seconds + n * bytes * link.h2d_seconds_per_byte : 0;
            const double arrival = single && n > 0 ? link.handshake_seconds + copies : 0;
            shares.push_back({std::max({hot, host, arrival}) + add, single ? 0 : copies});
        }
        return shares;
    }

    const ModelDescription& model_;
    const Plan& plan_;
    const MachineRates& rates_;
    const RandomRouting& routing_;
};

struct Measured {
    double prefill = 0, decode = 0;              // seconds a step
    double prefill_bound = 0, decode_bound = 0;  // the least; 0: some layers are at home on the host
    double prefill_plan = 0, decode_plan = 0;    // predicted
};

struct Case {
    const char* shape;
    double budget;  // GiB
    double skew;
};

Measured measure(const Case& wanted) {
    const ModelDescription model = describe_shape(wanted.shape);
    const MachineProfile machine = stored_machine();
    const Routing routing = skewed_routing(model.hyper, wanted.skew, 0);
    const Bytes budget{static_cast<std::uint64_t>(wanted.budget * 1073741824.0)};
    const Plan plan = std::get<Plan>(make_plan(model, machine,
                                               {.sizes = {.n_ctx = kContext, .n_batch = kPrompt},
                                                .vram_budget = budget,
                                                .depth = kPrompt + kDecoded / 2,
                                                .routing = routing}));
    const bool bounded =
        std::ranges::all_of(plan.layers, [](DeviceId home) { return home == kDevice; }) && plan.embedding == kDevice;
    const MachineRates rates = rates_of(machine, 0, FigureEnd::kMid);
    Ledger ledger;
    const auto device = make_simulated({.machine = machine,
                                        .budget = budget,
                                        .limits = {.n_batch = kPrompt, .n_ctx = kContext},
                                        .arithmetic = SimulatedArithmetic::kSkip},
                                       ledger);
    const Model weights = Model::absent(model, plan, ledger, {device.get()});
    const RandomRouting experts(model.hyper, routing, kPrompt + kDecoded);
    Session session(weights,
                    {.n_ctx = kContext, .n_batch = kPrompt, .n_threads = 1, .expert_times = expert_times(model, rates)},
                    ledger);
    session.force_experts([&](std::uint32_t layer, std::uint32_t position, std::uint32_t choice) {
        return experts.expert(layer, position, choice);
    });
    const Bound bound(model, plan, rates, experts);
    const std::vector<std::int32_t> tokens(kPrompt, 1);
    const auto step = [&](std::uint32_t n_tokens) {
        session.append(std::span(tokens).first(n_tokens));
        device->finish_step();
        return device->step_seconds();
    };
    Measured times;
    times.prefill = step(kPrompt);
    if (bounded) times.prefill_bound = bound.seconds({0, kPrompt});
    times.prefill_plan = kPrompt / plan.prefill.mid;
    for (std::uint32_t i = 0; i < kDecoded; ++i) {
        times.decode += step(1) / kDecoded;
        if (bounded) times.decode_bound += bound.seconds({kPrompt + i, 1}) / kDecoded;
    }
    times.decode_plan = 1 / plan.decode.mid;
    return times;
}

TEST(VirtualTimeOf24B, IsNearTheBoundAndThePlan) {
    std::printf("%-24s %-8s %9s %9s %9s %8s %8s\n", "", "", "virtual", "bound", "plan", "/ bound", "/ plan");
    for (const char* shape : {"lfm2-24b-a2b:Q8_0", "lfm2-24b-a2b:Q4_K_M"})
        for (const double budget : {16.0, 8.0})
            for (const double skew : {0.0, 0.8}) {
                char name[64];
                std::snprintf(name, sizeof name, "%s %2.0f GiB %3.1f", shape + 13, budget, skew);
                SCOPED_TRACE(name);
                const Measured times = measure({shape, budget, skew});
                const auto print = [&](const char* what, double seconds, double bound, double plan) {
                    std::printf("%-24s %-8s %6.2f ms %6.2f ms %6.2f ms %8.3f %8.3f\n", name, what, seconds * 1e3,
                                bound * 1e3, plan * 1e3, seconds / bound, seconds / plan);
                };
                print("decode", times.decode, times.decode_bound, times.decode_plan);
                print("prefill", times.prefill, times.prefill_bound, times.prefill_plan);
                EXPECT_LE(times.decode, 1.10 * times.decode_bound);
                EXPECT_LE(times.prefill, 1.15 * times.prefill_bound);
                EXPECT_NEAR(times.decode, times.decode_plan, 0.10 * times.decode);
                EXPECT_NEAR(times.prefill, times.prefill_plan, 0.10 * times.prefill);
            }
}

TEST(VirtualTimeOfLayersOnBothSides, IsThePlans) {
    for (const double budget : {0.6, 1.0}) {
        const Measured times = measure({"lfm2-1.2b:Q8_0", budget, 0});
        EXPECT_EQ(times.decode_bound, 0) << "expected layers on both sides";
        EXPECT_NEAR(times.decode, times.decode_plan, 0.02 * times.decode);
        EXPECT_NEAR(times.prefill, times.prefill_plan, 0.02 * times.prefill);
    }
}

}  // namespace
}  // namespace lfm::test
