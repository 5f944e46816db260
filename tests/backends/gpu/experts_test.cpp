// What the shared cases leave out of expert_ffn: ids that no expert has, one expert for all, several tiles for an
// expert, tables and slots that change between the replays of one recording, and experts whose matrices have different
// types.
#include "backends/gpu/emulation/machine.h"
#include "tests/backends/expert_layer.h"
#include "tests/backends/gpu/emulated_device.h"

namespace lfm::test {
namespace {

constexpr std::uint32_t kMostTokens = 150;

/// The int: the major number of CUDA's compute capability, which decides whether there are instructions for tiles.
using Case = std::tuple<Types, int, gpu::emulation::Order>;

class GpuExperts : public testing::TestWithParam<Case> {
protected:
    void SetUp() override {
        gpu::emulation::reset_machine({.major = std::get<1>(GetParam())});
        gpu::emulation::set_order(std::get<2>(GetParam()));
        device_ = open_emulated({.n_batch = kMostTokens, .n_ctx = kMostTokens}, ledger_);
    }
    void TearDown() override {
        device_.reset();
        gpu::emulation::reset_machine();
    }

    Ledger ledger_;
    std::unique_ptr<Device> device_;
};

std::string name_of(const testing::TestParamInfo<Case>& at) {
    std::string name;
    for (const DType type : std::get<0>(at.param)) name += std::string(dtype_name(type)) + "_";
    return name + (std::get<1>(at.param) >= 8 ? "tiles_" : "plain_") + order_name(std::get<2>(at.param));
}
INSTANTIATE_TEST_SUITE_P(All, GpuExperts,
                         testing::Combine(testing::Values(Types{DType::kQ4_K, DType::kQ8_0, DType::kQ5_0},
                                                          Types{DType::kQ4_0, DType::kQ4_0, DType::kQ4_0},
                                                          Types{DType::kQ6_K, DType::kQ6_K, DType::kF16}),
                                          testing::Values(8, 7),
                                          testing::Values(gpu::emulation::Order::kForward,
                                                          gpu::emulation::Order::kReverse)),
                         name_of);

TEST_P(GpuExperts, FollowTablesAndSlotsFromStepToStep) {
    DeviceOperands operands(*device_);
    const Experts experts(std::get<0>(GetParam()));
    Layer layer(operands, *device_, experts, kMostTokens);
    for (std::uint32_t e = 0; e < Experts::kCount; ++e) layer.hold(e, e < 4 ? kHolder : kHost);
    for (std::size_t i = 0; i < layer.ids.size(); ++i) layer.ids[i] = static_cast<std::int32_t>(i * 5 / 3 % 6);
    for (const std::uint32_t n : {1u, 2u, 40u}) {
        SCOPED_TRACE(n);
        layer.hold(3, kHolder);
        layer.stage({});
        layer.expect_right(n, {0, 1, 2, 3}, {});
        layer.stage({1, 5});
        layer.hold(3, kHost);
        layer.expect_right(n, {0, 2}, {1, 5});
    }
}

TEST_P(GpuExperts, AnyNumberOfRowsForEach) {
    DeviceOperands operands(*device_);
    const Experts experts(std::get<0>(GetParam()));
    Layer layer(operands, *device_, experts, kMostTokens);
    for (std::uint32_t e = 0; e < Experts::kCount; ++e) layer.hold(e, kHolder);
    for (const auto& counts : {std::array{0, 1, 31, 32, 33, 64}, std::array{65, 7, 16, 0, 129, 17}}) {
        std::ranges::fill(layer.ids, -1);
        std::size_t at = 0;
        for (std::size_t e = 0; e < counts.size(); ++e)
            for (int i = 0; i < counts[e]; ++i) layer.ids[at++] = static_cast<std::int32_t>(e);
        layer.expect_right(kMostTokens, {0, 1, 2, 3, 4, 5}, {});
    }
}

TEST_P(GpuExperts, OneForAllAndIdsThatNoneHas) {
    DeviceOperands operands(*device_);
    const Experts experts(std::get<0>(GetParam()));
    Layer layer(operands, *device_, experts, kMostTokens);
    for (std::uint32_t e = 0; e < Experts::kCount; ++e) layer.hold(e, kHolder);
    layer.stage({4});
    for (std::size_t i = 0; i < layer.ids.size(); ++i) {
        constexpr std::int32_t kChosen[] = {2, -1, 4, 2, 1 << 20, 6};
        layer.ids[i] = kChosen[i % 6];
    }
    for (const std::uint32_t n : {1u, 33u, kMostTokens}) layer.expect_right(n, {0, 1, 2, 3, 5}, {4});
    std::ranges::fill(layer.ids, 2);  // more rows than there are tokens
    for (const std::uint32_t n : {1u, kMostTokens}) layer.expect_right(n, {0, 1, 2, 3, 5}, {4});
}

}  // namespace
}  // namespace lfm::test
