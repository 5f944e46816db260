// A card as a device, and the module's entry.
#include "backends/gpu/module.h"

#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "backends/gpu/abilities.h"
#include "backends/gpu/copy_lane.h"
#include "backends/gpu/facts.h"
#include "backends/gpu/memory.h"
#include "backends/gpu/operations/operations.h"
#include "backends/gpu/programs.h"
#include "backends/gpu/submissions.h"
#include "backends/gpu/timelines.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

class OwnStream {
public:
    OwnStream() { require_created(api::create_stream(&stream_), "creating a stream"); }
    OwnStream(const OwnStream&) = delete;
    OwnStream& operator=(const OwnStream&) = delete;
    ~OwnStream() { ignore(api::destroy_stream(stream_)); }
    api::Stream handle() const { return stream_; }

private:
    api::Stream stream_{};
};

/// No manual gives the number: programs that enqueue more than about a thousand launches are seen to block.
constexpr std::uint32_t kMostLaunches = 1000;

class GpuDevice final : public Device {
public:
    GpuDevice(const GpuInfo& info, const GpuOptions& options, Ledger& ledger)
        : index_(static_cast<int>(info.index)),
          id_(options.id),
          name_(std::string(api::kLanguage) + ", " + info.name),
          registers_memory_(options.registers_memory && !info.integrated),
          spin_seconds_(options.spin_seconds),
          largest_block_(info.memory),
          memory_(health_, ledger, options.id, options.budget, Bytes{api::kContextBytes}),
          timelines_(health_, memory_),
          programs_(memory_, options.limits, traits_of(info, options.id, options.activations)),
          submissions_(health_, memory_, timelines_, programs_, compute_.handle()),
          copies_(health_, memory_, timelines_, {index_, copying_.handle(), info.pins_read_only}) {
        const Abilities abilities = try_out(memory_, {compute_.handle(), copying_.handle(), info.ticks_per_second});
        why_no_waits_ = abilities.why_no_waits;
        why_in_turn_ = options.starts_early ? abilities.why_in_turn : std::nullopt;
        submissions_.behave({.most_ticks = static_cast<std::uint64_t>(spin_seconds_ * info.ticks_per_second),
                             .why_no_graphs = abilities.why_no_graphs,
                             .start = options.starts_early && !why_in_turn_ ? Start::kEarly : Start::kInTurn});
        timelines_.watch(compute_.handle(), copying_.handle());
        memory_.take_context(info.free);
    }

    ~GpuDevice() override {
        use();
        // Copies that still wait are dropped: their host memory need not exist any more.
        copies_.stop();
        // Kernels that still wait for the host or for copies go on, so that the device comes to rest.
        timelines_.open(Timeline::kHostSignals);
        ignore(api::synchronize_stream(copying_.handle()));
        timelines_.open(Timeline::kCopy);
        ignore(api::synchronize_stream(compute_.handle()));
    }

    std::string_view name() const override { return name_; }
    bool supports(DType weight_type) const override { return supports_weight(weight_type); }
    DeviceId id() const override { return id_; }
    DeviceLimits limits() const override {
        return {.largest_block = largest_block_,
                .copies_beside_work = true,
                .registers_memory = registers_memory_,
                .waits = why_no_waits_ ? WaitKind::kByCaller : WaitKind::kSpins,
                .spin_seconds = spin_seconds_,
                .most_launches = kMostLaunches};
    }

    DeviceBlock allocate(MemoryKind kind, Purpose purpose, std::size_t size) override {
        enter();
        if (at_rest()) memory_.sweep();
        return DeviceBlock(*this, memory_.allocate(kind, purpose, size));
    }
    Bytes allocated() const override { return memory_.allocated(); }
    Bytes peak() const override { return memory_.peak(); }
    Bytes budget() const override { return memory_.budget(); }

    void upload(std::span<const CopyRegion> regions) override {
        upload_with(
            [](std::size_t n, const std::function<void(std::size_t)>& work) {
                for (std::size_t i = 0; i < n; ++i) work(i);
            },
            regions);
    }
    void upload_with(const Workers& workers, std::span<const CopyRegion> regions) override {
        enter();
        copies_.upload(regions, workers);
    }
    void download(std::span<std::byte> to, const std::byte* from) override {
        enter();
        copies_.download(to, from);
    }
    HostRegistration register_memory(std::span<const std::byte> memory) override {
        enter();
        if (!registers_memory_) return {};
        const HostPins::Added added = copies_.pins().add(memory);
        return {*this, added.handle, added.bytes};
    }

    void begin_step() override {
        enter();
        if (!timelines_.settled(Timeline::kCompute))
            throw Error(ErrorCode::kUsage, "begin_step", "expected no work under way, found some");
        if (at_rest()) {
            memory_.sweep();
            programs_.sweep();
        }
        memory_.look_for_others();
        programs_.send_step(health_, compute_.handle());
        if (timelines_.gave_up()) ++n_stalled_;
        submissions_.begin_step();
    }
    std::uint32_t launches(ProgramId program) const override { return submissions_.launches(program); }
    bool stalled() const override { return timelines_.gave_up(); }
    std::optional<StepNodes> step_nodes() const override { return submissions_.nodes(); }
    std::vector<std::string> remarks() const override;
    Point submit(ProgramId program, std::span<const Point> waits, Watched watched) override {
        enter();
        if (why_no_waits_)
            for (const Point& wait : waits)
                if (wait.timeline != Timeline::kCompute && timelines_.value(wait.timeline) < wait.value)
                    throw Error(ErrorCode::kUsage, "submit",
                                "expected points that are reached, as kernels here must not wait (" + *why_no_waits_ +
                                    "), found one that is not");
        return submissions_.add(program, waits, watched);
    }
    void flush() override {
        enter();
        submissions_.flush();
    }
    Point copy(std::span<const CopyRegion> regions, std::span<const Point> waits) override {
        health_.require_alive();
        return copies_.copy(regions, waits);
    }
    Point last(Timeline timeline) const override { return {timeline, timelines_.last(timeline)}; }
    void signal() override { timelines_.signal_host(); }
    void wait(Point point) override {
        health_.require_alive();
        timelines_.wait(point.timeline, point.value);
    }

private:
    /// The current device is a property of the calling thread.
    void use() noexcept { ignore(api::set_device(index_)); }
    void enter() {
        health_.require_alive();
        use();
    }
    bool at_rest() const { return timelines_.settled(Timeline::kCompute) && timelines_.settled(Timeline::kCopy); }
    /// A lost device keeps its memory until it is closed.
    bool may_be_in_use() const { return health_.lost() || !at_rest(); }
    void release(const DeviceBlock::Place& place) noexcept override {
        use();
        memory_.release(place, may_be_in_use());
    }
    void unregister_memory(std::uint64_t handle) noexcept override {
        use();
        copies_.pins().remove(handle, may_be_in_use());
    }
    ProgramId add_program(std::span<const Operation> operations, const StepParams& params) override {
        enter();
        wait({Timeline::kCompute, timelines_.last(Timeline::kCompute)});  // memory that grows must not be in use
        submissions_.make_room(programs_.size() + 1);
        return programs_.record(operations, params);
    }
    void forget_program(ProgramId program) noexcept override {
        use();
        programs_.forget(program, may_be_in_use());
    }

    int index_;
    DeviceId id_;
    std::string name_;
    bool registers_memory_;
    double spin_seconds_;
    std::optional<std::string> why_no_waits_;
    std::optional<std::string> why_in_turn_;  // although kernels were to start early
    std::uint64_t n_stalled_ = 0;             // steps
    Bytes largest_block_;
    Health health_;
    OwnStream compute_, copying_;
    Memory memory_;
    Timelines timelines_;
    Programs programs_;
    Submissions submissions_;
    CopyLane copies_;
};

std::vector<std::string> GpuDevice::remarks() const {
    std::vector<std::string> remarks;
    const auto seconds = [](double value) {
        char text[32];
        std::snprintf(text, sizeof text, "%g", value);
        return std::string(text);
    };
    if (why_no_waits_)
        remarks.push_back("kernels wait for nothing, each part of a step is handed over when what it needs is there: " +
                          *why_no_waits_);
    if (const std::uint64_t n = n_stalled_ + (timelines_.gave_up() ? 1 : 0); n > 0)
        remarks.push_back("the device gave up waiting for the host after " + seconds(spin_seconds_) + " s, " +
                          std::to_string(n) + (n == 1 ? " time" : " times") +
                          "; the step was done again, and kernels wait no more");
    if (why_in_turn_) remarks.push_back("kernels start one after another, not early: " + *why_in_turn_);
    if (submissions_.why_no_graphs())
        remarks.push_back("steps run kernel by kernel, without graphs: " + *submissions_.why_no_graphs());
    for (const std::string& remark : copies_.remarks()) remarks.push_back(remark);
    for (const std::string& remark : memory_.remarks()) remarks.push_back(remark);
    return remarks;
}

std::unique_ptr<Device> open(const GpuOptions& options, Ledger& ledger) {
    const GpuInfo info = require_device(options.index);
    require_created(api::set_device(static_cast<int>(info.index)), "choosing a device");
    return std::make_unique<GpuDevice>(info, options, ledger);
}

}  // namespace
}  // namespace lfm::gpu

extern "C" __attribute__((visibility("default"))) const lfm::gpu::Module* lfm_gpu_module() {
    static const lfm::gpu::Module module{.version = lfm::gpu::Module::kVersion,
                                         .backend = lfm::gpu::api::kBackend,
                                         .list_devices = lfm::gpu::list_devices,
                                         .open = lfm::gpu::open};
    return &module;
}
