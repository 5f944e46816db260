#include "tools/bench/run.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "runtime/machine/bandwidth.h"
#include "runtime/probe/probe.h"

namespace lfm::tools {
namespace {

constexpr std::size_t kBandwidthBytes = std::size_t{1} << 30;  // at most, of the weights, for one measurement
constexpr std::uint32_t kWarmupTokens = 4;

/// A well-mixed number for each argument (the finaliser of MurmurHash3).
std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

double active_expert_bytes(const ModelDescription& model) {
    double sum = 0;
    for (const LayerDescription& layer : model.layers)
        if (const auto* moe = std::get_if<MoeTensors>(&layer.ffn))
            sum += static_cast<double>(expert_bytes(*moe, model.hyper.n_expert).value) * model.hyper.n_expert_used;
    return sum;
}

/// What an engine counted since it began.
struct Traffic {
    CacheHits hits;
    Bytes bus;
};

Traffic traffic(const Session& session) {
    const Engine& engine = session.engine();
    return {engine.residency().hits(), engine.totals().streamed + engine.residency().fetched()};
}

std::optional<BenchResult::Nodes> nodes_of_step(const Device& device) {
    const auto found = device.step_nodes();
    if (!found) return std::nullopt;
    BenchResult::Nodes nodes{.total = found->total(), .is_graph = found->is_graph};
    for (const auto& [kernel, n] : found->kinds) nodes.kernels.emplace_back(kernel, n);
    return nodes;
}

}  // namespace

Bench::Bench(BenchInputs inputs, Ledger& ledger) : in_(std::move(inputs)) {
    if (in_.routing)
        in_.placed.session().force_experts([this](std::uint32_t layer, std::uint32_t position, std::uint32_t choice) {
            return (*in_.routing)(layer, position + shift_, choice);
        });
    if (in_.placed.device() == nullptr && in_.placed.model().data().size() < kLeastMemoryForBandwidth) {
        buffer_ = HostBuffer(ledger, Purpose::kScratch, kLeastMemoryForBandwidth);
        std::memset(buffer_.bytes().data(), 1, buffer_.bytes().size());  // pages of its own, not the zero page
    }
}

BenchResult Bench::run(const BenchTest& test) {
    Session& session = in_.placed.session();
    session.reset();
    BenchResult result;
    result.test = test;
    result.test_time = utc_now();
    result.bytes_per_token = static_cast<double>(active_weight_bytes(in_.placed.model().description()).value);
    result.expert_bytes_per_token = active_expert_bytes(in_.placed.model().description());
    if (test.n_depth > 0) append(test.n_depth);
    const Checkpoint start = session.checkpoint();
    if (in_.options.warmup) repeat(start, {test.n_prompt, std::min(test.n_gen, kWarmupTokens), 0});
    const Traffic before = traffic(session);
    std::vector<double> bandwidths;
    const auto measure = [&] {
        if (const auto measured = bandwidth()) bandwidths.push_back(*measured);
    };
    measure();
    for (std::uint32_t i = 0; i < in_.options.repetitions; ++i) {
        result.seconds.push_back(repeat(start, test));
        measure();
    }
    std::ranges::sort(bandwidths);
    if (!bandwidths.empty()) result.read_bandwidth = bandwidths[bandwidths.size() / 2];
    if (in_.placed.device() == nullptr) return result;

    const Traffic after = traffic(session);
    const std::uint64_t used = after.hits.total() - before.hits.total();
    const std::uint64_t missed = after.hits.missed - before.hits.missed;
    if (used > 0) result.hit_rate = 1 - static_cast<double>(missed) / static_cast<double>(used);
    result.bus_bytes_per_token = static_cast<double>(after.bus.value - before.bus.value) /
                                 (in_.options.repetitions * double(test.n_prompt + test.n_gen));
    result.vram_peak = in_.placed.device()->peak();
    if (test.n_gen > 0) result.nodes = nodes_of_step(*in_.placed.device());
    result.device_remarks = in_.placed.device()->remarks();
    return result;
}

/// Seconds of one repetition.
double Bench::repeat(const Checkpoint& start, const BenchTest& test) {
    in_.placed.session().restore(start);
    double seconds = 0;
    if (test.n_prompt > 0) seconds += append(test.n_prompt);
    for (std::uint32_t i = 0; i < test.n_gen; ++i) seconds += append(1);
    shift_ += test.n_prompt + test.n_gen;
    return seconds;
}

/// Seconds to append n tokens.
double Bench::append(std::uint32_t n) {
    Session& session = in_.placed.session();
    tokens_.clear();
    for (std::uint32_t i = 0; i < n; ++i)
        tokens_.push_back(
            static_cast<std::int32_t>(mix(std::uint64_t{session.position()} + shift_ + i) % session.n_vocab()));
    if (in_.time == BenchTime::kMeasured) {
        const double paused = session.paused_seconds();
        const auto begin = std::chrono::steady_clock::now();
        session.append(tokens_);
        const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
        return seconds.count() - (session.paused_seconds() - paused);
    }
    // Virtual time is known step by step.
    double seconds = 0;
    const std::uint32_t n_batch = in_.options.session.n_batch;
    for (std::uint32_t first = 0; first < n; first += n_batch) {
        session.append(std::span(tokens_).subspan(first, std::min(n_batch, n - first)));
        seconds += session.engine().last_times().total;
    }
    return seconds;
}

/// Bytes a second; nothing where the weights are not read from RAM alone.
std::optional<double> Bench::bandwidth() const {
    if (in_.placed.device() != nullptr) return std::nullopt;
    const auto memory =
        buffer_.bytes().empty() ? in_.placed.model().data() : std::span<const std::byte>(buffer_.bytes());
    return measure_read_bandwidth(memory.first(std::min(memory.size(), kBandwidthBytes)),
                                  in_.options.session.n_threads);
}

}  // namespace lfm::tools
