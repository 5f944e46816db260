#include "backends/gpu/abilities.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "backends/gpu/kernels/points.h"

namespace lfm::gpu {
namespace {

/// Settings that make kernels run one at a time, by the manuals of CUDA and HIP.
struct Serialising {
    const char* variable;
    const char* value;  // that has this effect; null: any but 0
};
constexpr std::array kSerialising{
    Serialising{"CUDA_LAUNCH_BLOCKING", nullptr}, Serialising{"CUDA_DEVICE_MAX_CONNECTIONS", "1"},
    Serialising{"HIP_LAUNCH_BLOCKING", nullptr},  Serialising{"AMD_SERIALIZE_KERNEL", nullptr},
    Serialising{"GPU_MAX_HW_QUEUES", "1"},
};

bool is_set(const Serialising& setting) {
    const char* const value = std::getenv(setting.variable);
    if (value == nullptr || *value == '\0') return false;
    return setting.value != nullptr ? std::strcmp(value, setting.value) == 0 : std::strcmp(value, "0") != 0;
}

std::optional<std::string> serialising_setting() {
    if constexpr (std::string_view(api::kBackend).starts_with("emulated")) return std::nullopt;
    for (const Serialising& setting : kSerialising)
        if (is_set(setting)) return std::string(setting.variable) + "=" + std::getenv(setting.variable);
    return std::nullopt;
}

/// Flags in pinned memory for kernels to raise and wait for.
class Flags {
public:
    enum Which : std::size_t { kRaised, kGaveUp, kReached, kOfGraph, kCount };

    explicit Flags(Memory& memory)
        : host_(memory, MemoryKind::kShared, Purpose::kScratch, kBytes),
          device_(memory, MemoryKind::kOwn, Purpose::kScratch, kBytes) {
        std::memset(host_.host(), 0, kBytes);
    }
    std::uint64_t* address(Which which) const { return at(host_.address(), which); }
    std::uint64_t* on_device() const { return at(device_.address(), kRaised); }
    std::byte* device_bytes() const { return device_.address(); }
    std::byte* host_bytes() const { return host_.address(); }
    std::uint64_t value(Which which) const {
        return std::atomic_ref(*at(host_.host(), which)).load(std::memory_order_acquire);
    }

private:
    static constexpr std::size_t kApart = 128;
    static constexpr std::size_t kBytes = kCount * kApart;
    static std::uint64_t* at(std::byte* begin, std::size_t which) {
        return reinterpret_cast<std::uint64_t*>(begin + which * kApart);
    }
    OwnBlock host_, device_;
};

/// Launches a kernel that waits on one stream, then on the other one that ends the wait: whether it ended in time.
bool run_side_by_side(const Flags& flags, const Trial& trial) {
    constexpr double kMostSeconds = 0.25;
    const Kernel meet = meet_kernel(), raise = raise_kernel();
    require_created(api::copy(flags.device_bytes(), flags.host_bytes(), sizeof(std::uint64_t), trial.compute),
                    "clearing a flag");
    const MeetPush wait{.finished = nullptr,
                        .next = nullptr,
                        .points = {.host = 1, .copy = 0, .reached = 0},
                        .compute = flags.address(Flags::kReached),
                        .copy = flags.address(Flags::kReached),
                        .host = flags.address(Flags::kRaised),
                        .gave_up = {flags.on_device(), flags.address(Flags::kGaveUp)},
                        .most_ticks = static_cast<std::uint64_t>(kMostSeconds * trial.ticks_per_second)};
    const RaisePush end{flags.address(Flags::kRaised), 1};
    require_created(api::launch(meet, {}, &wait, trial.compute), meet.name);
    require_created(api::launch(raise, {}, &end, trial.copies), raise.name);
    require_created(api::synchronize_stream(trial.copies), "the first kernels");
    require_created(api::synchronize_stream(trial.compute), "the first kernels");
    return flags.value(Flags::kGaveUp) == 0;
}

/// Launches a graph of two kernels twice. Returns what failed; nothing when all worked.
std::optional<std::string> graph_failure(const Flags& flags, const Trial& trial) {
    const Kernel raise = raise_kernel();
    const auto failed = [](const char* call, api::Status status) {
        api::forget_error();
        return said(call, status);
    };
    if (const auto status = api::begin_capture(trial.compute); status != api::kSuccess)
        return failed("beginning a capture", status);
    api::Status launched = api::kSuccess;
    for (const std::uint64_t value : {1, 2}) {
        const RaisePush push{flags.address(Flags::kOfGraph), value};
        if (launched == api::kSuccess) launched = api::launch(raise, {}, &push, trial.compute);
    }
    api::Graph graph{};
    const api::Status captured = api::end_capture(trial.compute, &graph);
    if (launched != api::kSuccess) {
        if (captured == api::kSuccess) ignore(api::destroy_graph(graph));
        return failed("a launch within a capture", launched);
    }
    if (captured != api::kSuccess) return failed("ending a capture", captured);
    api::GraphExec made{};
    const api::Status status = api::instantiate(&made, graph);
    ignore(api::destroy_graph(graph));
    if (status != api::kSuccess) return failed("making a graph", status);
    std::optional<std::string> failure;
    for (int i = 0; i < 2 && !failure; ++i)
        if (const auto ran = api::launch(made, trial.compute); ran != api::kSuccess)
            failure = failed("launching a graph", ran);
    const api::Status done = api::synchronize_stream(trial.compute);
    ignore(api::destroy(made));
    if (!failure && done != api::kSuccess) failure = failed("a graph", done);
    if (!failure && flags.value(Flags::kOfGraph) != 2) failure = "a graph of two kernels did not run both in order";
    return failure;
}

}  // namespace

Abilities try_out(Memory& memory, const Trial& trial) {
    const Flags flags(memory);
    for (const Kernel& kernel : {meet_kernel(), raise_kernel()}) require_created(api::load(kernel), kernel.name);
    Abilities abilities;
    const std::optional<std::string> setting = serialising_setting();
    if (setting)
        abilities.why_no_waits = *setting;
    else if (!run_side_by_side(flags, trial))
        abilities.why_no_waits = "a kernel on one stream waited in vain for one on another";
    abilities.why_no_graphs = graph_failure(flags, trial);
    bool early = false;
    if (const auto status = api::starts_early(&early, meet_kernel()); status != api::kSuccess) {
        api::forget_error();
        abilities.why_in_turn = said("looking at a kernel", status);
    } else if (!early) {
        abilities.why_in_turn = "that takes CUDA code made for compute capability 9.0 or later";
    }
    return abilities;
}

}  // namespace lfm::gpu
