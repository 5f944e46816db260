#include "backends/vulkan/vulkan_device.h"

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/vulkan/copy_lane.h"
#include "backends/vulkan/gpu.h"
#include "backends/vulkan/instance.h"
#include "backends/vulkan/memory.h"
#include "backends/vulkan/operations/operations.h"
#include "backends/vulkan/programs.h"
#include "backends/vulkan/submissions.h"
#include "backends/vulkan/timelines.h"
#include "memory/error.h"

namespace lfm::vulkan {
namespace {

GpuFacts choose(const Instance& instance, std::uint32_t index) {
    const std::vector<VkPhysicalDevice> devices = instance.devices();
    if (index >= devices.size())
        throw Error(ErrorCode::kUsage, "Vulkan",
                    "expected a device below " + std::to_string(devices.size()) + ", found " + std::to_string(index));
    return read_facts(devices[index], index);
}

VulkanInfo describe(const GpuFacts& facts) {
    VulkanInfo info = facts.info;
    if (!Memory::direct_in(facts)) info.context = Bytes{2 * Staging::kHalfBytes + Memory::kSpare};
    if (const auto left = left_in_heap(facts, Memory::own_heap(facts)))
        info.free = std::min(info.memory, Bytes{static_cast<std::uint64_t>(std::max<std::int64_t>(*left, 0))});
    return info;
}

class VulkanDevice final : public Device {
public:
    VulkanDevice(const VulkanOptions& options, Ledger& ledger)
        : instance_(options.validation, options.report),
          gpu_(choose(instance_, options.index)),
          id_(options.id),
          name_("Vulkan, " + gpu_.facts().info.name),
          memory_(gpu_, ledger, options.id, options.budget),
          timelines_(gpu_, memory_.direct() || !gpu_.facts().copy ? Signaller::kHost : Signaller::kDevice),
          programs_(gpu_, memory_, options.limits, options.activations, options.id),
          submissions_(gpu_, timelines_),
          copies_(gpu_, memory_, timelines_),
          registers_memory_(options.registers_memory && copies_.registers_memory()) {}

    ~VulkanDevice() override {
        // Work that still waits for the host or for copies must go on, so that the device comes to rest.
        copies_.stop();
        gpu_.drain_copies();
        timelines_.open(Timeline::kCopy);
        timelines_.open(Timeline::kHostSignals);
        vkDeviceWaitIdle(gpu_.handle());
    }

    std::string_view name() const override { return name_; }
    bool supports(DType weight_type) const override { return supports_weight(weight_type); }
    DeviceId id() const override { return id_; }
    DeviceLimits limits() const override {
        return {gpu_.facts().largest_block, memory_.direct() || gpu_.facts().copy.has_value(), registers_memory_};
    }

    DeviceBlock allocate(MemoryKind kind, Purpose purpose, std::size_t size) override {
        gpu_.health().require_alive();
        if (at_rest()) memory_.sweep();
        const MemoryUse use = kind == MemoryKind::kOwn ? MemoryUse::kDevice : MemoryUse::kShared;
        return DeviceBlock(*this, memory_.allocate(use, purpose, size));
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
        gpu_.health().require_alive();
        copies_.upload(regions, workers);
    }
    void download(std::span<std::byte> to, const std::byte* from) override {
        gpu_.health().require_alive();
        copies_.download(to, from);
    }

    HostRegistration register_memory(std::span<const std::byte> memory) override {
        gpu_.health().require_alive();
        if (!registers_memory_) return {};
        const HostImports::Added added = copies_.imports().add(memory);
        return {*this, added.handle, added.bytes};
    }

    void begin_step() override {
        gpu_.health().require_alive();
        if (!timelines_.settled(Timeline::kCompute))
            throw Error(ErrorCode::kUsage, "begin_step", "expected no work under way, found some");
        if (at_rest()) {
            memory_.sweep();
            programs_.sweep();
        }
        memory_.look_for_others();
        programs_.begin_step();
    }
    Point submit(ProgramId program, std::span<const Point> waits, Watched) override {
        gpu_.health().require_alive();
        return submissions_.add(programs_.commands(program), waits);
    }
    void flush() override {
        gpu_.health().require_alive();
        submissions_.flush(copies_.uploaded());
    }
    Point copy(std::span<const CopyRegion> regions, std::span<const Point> waits) override {
        gpu_.health().require_alive();
        return copies_.copy(regions, waits);
    }
    Point last(Timeline timeline) const override { return {timeline, timelines_.last(timeline)}; }
    void signal() override {
        try {
            timelines_.signal_host();
        } catch (const Error&) {
            // Every other call will say so.
        }
    }
    void wait(Point point) override {
        gpu_.health().require_alive();
        timelines_.of(point.timeline).wait(point.value);
    }

private:
    bool at_rest() { return timelines_.settled(Timeline::kCompute) && timelines_.settled(Timeline::kCopy); }
    /// A lost device keeps its memory until it is closed.
    bool may_be_in_use() noexcept {
        try {
            return !at_rest();
        } catch (const Error&) {
            return true;
        }
    }
    void release(const DeviceBlock::Place& place) noexcept override { memory_.release(place, may_be_in_use()); }
    void unregister_memory(std::uint64_t handle) noexcept override {
        copies_.imports().remove(handle, may_be_in_use());
    }
    ProgramId add_program(std::span<const Operation> operations, const StepParams& params) override {
        gpu_.health().require_alive();
        wait({Timeline::kCompute, timelines_.last(Timeline::kCompute)});  // memory that grows must not be in use
        return programs_.record(operations, params);
    }
    void forget_program(ProgramId program) noexcept override { programs_.forget(program, may_be_in_use()); }

    Instance instance_;
    Gpu gpu_;
    DeviceId id_;
    std::string name_;
    Memory memory_;
    Timelines timelines_;
    Programs programs_;
    Submissions submissions_;
    CopyLane copies_;
    bool registers_memory_;
};

}  // namespace

std::vector<VulkanInfo> list_devices() {
    std::vector<VulkanInfo> infos;
    try {
        const Instance instance(Validation::kNone, {});
        for (const VkPhysicalDevice device : instance.devices())
            infos.push_back(describe(read_facts(device, static_cast<std::uint32_t>(infos.size()))));
    } catch (const Error&) {
        // No driver is not an error: there is just no device.
    }
    return infos;
}

std::unique_ptr<Device> make_vulkan_device(const VulkanOptions& options, Ledger& ledger) {
    return std::make_unique<VulkanDevice>(options, ledger);
}

}  // namespace lfm::vulkan
