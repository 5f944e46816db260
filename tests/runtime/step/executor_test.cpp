// The executor by itself: the graph it makes of a program, and how a step ends.
#include "runtime/step/executor.h"

#include <gtest/gtest.h>

#include "backends/cpu/cpu_backend.h"
#include "backends/sim/sim_device.h"
#include "memory/error.h"

namespace lfm::test {
namespace {

constexpr std::uint32_t kCols = 8;

/// A number that the host and a device double in turns, in memory that both see.
class Doubled : public testing::Test {
protected:
    Doubled() {
        block_ = device_->allocate(MemoryKind::kShared, Purpose::kActivations, kCols * sizeof(float));
        std::fill_n(numbers(), kCols, 1.0f);
    }
    float* numbers() { return reinterpret_cast<float*>(block_.host().data()); }
    Stage stage(const std::string& name, DeviceId device, std::vector<std::uint32_t> after = {}) {
        auto* data = device != kHost ? reinterpret_cast<float*>(block_.address()) : numbers();
        const RowsView x{data, kCols};
        return {.name = name, .device = device, .operations = {AddArgs{x, x, x}}, .after = std::move(after)};
    }
    std::vector<Stage> there_and_back() {
        return {stage("a", DeviceId{1}), stage("b", kHost, {0}), stage("c", DeviceId{1}, {1}), stage("d", kHost, {2})};
    }
    Executor executor(std::vector<Stage> program) {
        return Executor(
            {.program = std::move(program), .host = *host_, .beside = {.device = device_.get()}, .params = params_});
    }

    Ledger ledger_;
    std::unique_ptr<sim::SimDevice> device_ =
        sim::make_sim_device({.budget = {1ull << 24}, .limits = {.n_batch = 1, .n_ctx = 4}}, ledger_);
    std::unique_ptr<Backend> host_ =
        cpu::make_cpu_backend({.n_threads = 1, .limits = {.n_batch = 1, .n_ctx = 4}}, ledger_);
    DeviceBlock block_;
    const StepParams params_{.n_tokens = 1};
};

TEST_F(Doubled, StagesRunInTheirOrderOnBothSides) {
    Executor executor = this->executor(there_and_back());
    executor.run(nullptr);
    EXPECT_EQ(numbers()[0], 16);
    executor.run(nullptr);
    EXPECT_EQ(numbers()[kCols - 1], 256);
    EXPECT_EQ(executor.n_stalled(), 0u);
    EXPECT_GT(executor.last_times().total, 0);
}

TEST_F(Doubled, NamesTheNodesOfItsGraph) {
    EXPECT_EQ(executor(there_and_back()).describe(),
              (std::vector<std::string>{"begin", "a (device)", "b (host)", "c (device)", "d (host)"}));
}

TEST_F(Doubled, AStopLeavesTheHostsStagesOutAndTheDeviceDone) {
    Executor executor = this->executor(there_and_back());
    const std::atomic<bool> stop{true};
    try {
        executor.run(&stop);
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
    }
    EXPECT_EQ(numbers()[0], 4) << "the device's two";
    executor.run(nullptr);
    EXPECT_EQ(numbers()[0], 64);
}

TEST_F(Doubled, ALostDeviceEndsTheStepWithItsError) {
    Executor executor = this->executor(there_and_back());
    device_->inject({.lose_at_call = device_->counts().calls + 3});
    try {
        executor.run(nullptr);
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kDeviceLost);
    }
}

TEST_F(Doubled, GivesItsProgramsBack) {
    const Bytes before = device_->allocated();
    for (int i = 0; i < 3; ++i) {
        Executor executor = this->executor(there_and_back());
        executor.run(nullptr);
    }
    EXPECT_EQ(device_->allocated(), before);
}

}  // namespace
}  // namespace lfm::test
