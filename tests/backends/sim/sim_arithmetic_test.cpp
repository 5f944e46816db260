// The simulated device computes what the CPU backend computes, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "backends/cpu/cpu_backend.h"
#include "tests/backends/sim/sim_run.h"

namespace lfm::test {
namespace {

class SimArithmetic : public testing::TestWithParam<const cpu::Kernels*> {};
INSTANTIATE_TEST_SUITE_P(Kernels, SimArithmetic,
                         testing::ValuesIn(cpu::available_kernels().begin(), cpu::available_kernels().end()),
                         [](const auto& test) { return std::string(test.param->name); });

/// The little layer on the CPU, in memory of the host.
class CpuRun {
public:
    explicit CpuRun(const cpu::Kernels& kernels)
        : backend_(cpu::make_cpu_backend({.kernels = &kernels,
                                          .n_threads = 1,
                                          .limits = {.n_batch = LittleLayer::kBatch, .n_ctx = LittleLayer::kContext},
                                          .self = LittleLayer::kSelf},
                                         ledger_)),
          layer_([this](const std::byte* from, std::size_t n) {
              places_.push_back(std::vector<std::byte>(n));
              if (from != nullptr) std::memcpy(places_.back().data(), from, n);
              return places_.back().data();
          }) {
        for (const auto* operations : {&layer_.mixer, &layer_.held, &layer_.output})
            programs_.push_back(backend_->record(*operations, layer_.step));
        for (std::size_t i = 0; i < layer_.staged_bytes.size(); ++i)
            std::ranges::copy(layer_.staged_bytes[i], layer_.slots + i * layer_.slot_bytes);
    }

    std::vector<float> step(std::uint32_t position, std::uint32_t n) {
        layer_.set_step(position, n);
        for (const Program& program : programs_) backend_->submit(program);
        return {layer_.logits.data, layer_.logits.data + n * LittleLayer::kVocab};
    }
    LittleLayer& layer() { return layer_; }

private:
    Ledger ledger_;
    std::unique_ptr<Backend> backend_;
    std::vector<std::vector<std::byte>> places_;
    LittleLayer layer_;
    std::vector<Program> programs_;
};

TEST_P(SimArithmetic, EqualsTheCpuBackendBitForBit) {
    Ledger ledger;
    auto options = little_options();
    options.kernels = GetParam();
    SimRun on_device(options, ledger);
    CpuRun on_cpu(*GetParam());
    std::uint32_t position = 0;
    for (const std::uint32_t n : {1u, 5u, 8u, 1u, 1u, 3u}) {
        const std::vector<float> found = on_device.step(position, n), expected = on_cpu.step(position, n);
        ASSERT_EQ(found.size(), expected.size());
        EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size() * sizeof(float)), 0) << position;
        for (const float value : found) ASSERT_TRUE(std::isfinite(value));
        position += n;
    }
}

TEST_P(SimArithmetic, EqualsTheCpuBackendWhereverExpertsAre) {
    Ledger ledger;
    auto options = little_options();
    options.kernels = GetParam();
    SimRun on_device(options, ledger);
    CpuRun on_cpu(*GetParam());
    std::vector<std::vector<float>> all;
    for (std::int32_t first = 0; first < 8; ++first) {  // held, staged, elsewhere
        const std::vector<std::int32_t> forced{first, (first + 1) % 8, (first + 4) % 8, first};
        on_device.layer().step.forced_experts = on_cpu.layer().step.forced_experts = forced.data();
        all.push_back(on_device.step(0, 2));
        EXPECT_EQ(all.back(), on_cpu.step(0, 2)) << first;
    }
    EXPECT_NE(all[0], all[4]);
    EXPECT_NE(all[4], all[6]);
}

}  // namespace
}  // namespace lfm::test
