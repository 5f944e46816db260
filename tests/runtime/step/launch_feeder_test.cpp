// The feeder against a device that only notes what it is told, and blocks as long as the test wants.
#include "runtime/step/launch_feeder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>
#include <thread>

#include "memory/error.h"

namespace lfm::test {
namespace {

using Waits = LaunchFeeder::Waits;

/// Every program takes `launches_each` launches. What is flushed counts as done when it is waited for.
class NotingDevice final : public Device {
public:
    static constexpr std::uint32_t kLaunchesEach = 30;

    std::string_view name() const override { return "noting"; }
    bool supports(DType) const override { return true; }
    ProgramId add_program(std::span<const Operation>, const StepParams&) override { return {}; }
    void forget_program(ProgramId) noexcept override {}
    DeviceId id() const override { return DeviceId{1}; }
    DeviceLimits limits() const override { return {}; }
    DeviceBlock allocate(MemoryKind, Purpose, std::size_t) override { return {}; }
    Bytes allocated() const override { return {}; }
    Bytes peak() const override { return {}; }
    Bytes budget() const override { return {}; }
    void upload(std::span<const CopyRegion>) override {}
    void download(std::span<std::byte>, const std::byte*) override {}
    void begin_step() override {}
    Point copy(std::span<const CopyRegion>, std::span<const Point>) override { return {}; }
    Point last(Timeline) const override { return {}; }
    void signal() override {}

    Point submit(ProgramId program, std::span<const Point> waits, Watched) override {
        const std::lock_guard lock(mutex);
        if (program.value == refused) throw Error(ErrorCode::kDeviceLost, "noting", "lost");
        log += " s" + std::to_string(program.value);
        for (const Point& wait : waits) log += "@" + std::to_string(wait.value);
        ++n_submitted;
        most_outstanding = std::max(most_outstanding, (n_submitted - n_done) * kLaunchesEach);
        return {Timeline::kCompute, n_submitted};
    }
    void flush() override {
        const std::lock_guard lock(mutex);
        log += " f";
        on_thread = std::this_thread::get_id();
    }
    void wait(Point point) override {
        const std::lock_guard lock(mutex);
        log += std::string(point.timeline == Timeline::kCompute ? " w" : " h") + std::to_string(point.value);
        if (point.timeline == Timeline::kCompute) n_done = static_cast<std::uint32_t>(point.value);
    }

    std::mutex mutex;
    std::string log;
    std::uint32_t n_submitted = 0, n_done = 0, most_outstanding = 0, refused = ~0u;
    std::thread::id on_thread;

private:
    void release(const DeviceBlock::Place&) noexcept override {}
};

LaunchFeeder::Item item(std::uint32_t program, std::uint64_t host_point, Waits waits, std::uint32_t launches) {
    LaunchFeeder::Item item{.program = {program}, .waits = waits, .launches = launches};
    item.after[static_cast<std::size_t>(Timeline::kHostSignals)] = host_point;
    return item;
}

TEST(LaunchFeeder, HandsAShortStepOverAtOnce) {
    NotingDevice device;
    LaunchFeeder feeder(device);
    for (int step = 0; step < 2; ++step) {
        feeder.clear();
        feeder.add(item(1, 0, Waits::kOnDevice, 0));
        feeder.add(item(2, 7, Waits::kOnDevice, 0));
        feeder.start();
        EXPECT_EQ(device.log, step == 0 ? " s1 s2@7 f" : " s1 s2@7 f s1 s2@7 f");
        EXPECT_EQ(device.on_thread, std::this_thread::get_id());
        EXPECT_EQ(feeder.finish(), nullptr);
    }
}

TEST(LaunchFeeder, KeepsBelowItsBound) {
    NotingDevice device;
    LaunchFeeder feeder(device);
    for (std::uint32_t i = 0; i < 200; ++i) feeder.add(item(i, 0, Waits::kOnDevice, NotingDevice::kLaunchesEach));
    feeder.start();
    EXPECT_EQ(feeder.finish(), nullptr);
    EXPECT_NE(device.on_thread, std::this_thread::get_id());
    EXPECT_EQ(device.n_submitted, 200u);
    EXPECT_LE(device.most_outstanding, LaunchFeeder::kMostOutstanding);
    EXPECT_GT(device.most_outstanding, LaunchFeeder::kMostOutstanding / 2);
    EXPECT_EQ(device.log.find(" s0 s1 s2 f s3"), 0u) << device.log;
}

TEST(LaunchFeeder, WaitsItselfWhereTheDeviceMustNot) {
    NotingDevice device;
    LaunchFeeder feeder(device);
    feeder.add(item(1, 0, Waits::kHere, 0));
    feeder.add(item(2, 5, Waits::kHere, 0));
    feeder.add(item(3, 6, Waits::kOnDevice, 0));
    feeder.start();
    EXPECT_EQ(feeder.finish(), nullptr);
    EXPECT_EQ(device.log, " s1 f h5 s2 s3@6 f");
}

TEST(LaunchFeeder, KeepsWhatTheDeviceThrows) {
    NotingDevice device;
    LaunchFeeder feeder(device);
    device.refused = 150;
    for (std::uint32_t i = 0; i < 200; ++i) feeder.add(item(i, 0, Waits::kOnDevice, NotingDevice::kLaunchesEach));
    feeder.start();
    EXPECT_NE(feeder.finish(), nullptr);
    device.refused = ~0u;
    feeder.clear();
    feeder.add(item(1, 0, Waits::kOnDevice, 0));
    feeder.start();
    EXPECT_EQ(feeder.finish(), nullptr);
}

}  // namespace
}  // namespace lfm::test
