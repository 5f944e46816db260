// Uploads by several threads: the bytes arrive, progress is reported.
#include <gtest/gtest.h>

#include <vector>

#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "runtime/tensors/model.h"
#include "tests/device_kinds.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

class Upload : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (const std::string why = GetParam().absence(); !why.empty()) GTEST_SKIP() << why;
    }
    std::unique_ptr<Device> open(Bytes budget, Ledger& ledger) const {
        return GetParam().open({.budget = budget, .limits = {16, 64}}, ledger);
    }
};

TEST_P(Upload, BringsEveryByteAndTellsProgress) {
    constexpr std::size_t kLarge = std::size_t{300} << 20, kSmall = 7;
    Ledger ledger;
    const auto device = open({400 << 20}, ledger);
    std::vector<std::byte> bytes(kLarge);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>((i * 131 + (i >> 12)) & 0xff);
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kWeights, kLarge);
    // Odd sizes, an empty one, and one that is larger than what is copied between two reports.
    const std::size_t ends[] = {0, kSmall, kSmall, 1 << 20, (5 << 20) + 3, kLarge - 1, kLarge};
    std::vector<CopyRegion> regions;
    for (std::size_t i = 0; i + 1 < std::size(ends); ++i)
        regions.push_back({block.address() + ends[i], bytes.data() + ends[i], ends[i + 1] - ends[i]});
    std::vector<Bytes> told;
    const Uploaded uploaded = upload(*device, regions, 3, [&](Bytes done, Bytes total) {
        EXPECT_EQ(total.value, kLarge);
        EXPECT_GE(done, told.empty() ? Bytes{} : told.back());
        told.push_back(done);
    });
    EXPECT_EQ(uploaded.bytes.value, kLarge);
    EXPECT_GT(uploaded.gb_per_s(), 0);
    ASSERT_GE(told.size(), 2u);
    EXPECT_EQ(told.back().value, kLarge);
    std::vector<std::byte> back(kLarge);
    device->download(back, block.address());
    EXPECT_TRUE(back == bytes);
}

TEST_P(Upload, WhoIsToldMayEndIt) {
    Ledger ledger;
    const auto device = open({64 << 20}, ledger);
    const DeviceBlock block = device->allocate(MemoryKind::kOwn, Purpose::kWeights, 1000);
    const std::vector<std::byte> bytes(1000);
    const CopyRegion region{block.address(), bytes.data(), bytes.size()};
    const auto end = [](Bytes, Bytes) { throw Error(ErrorCode::kInterrupted, "loading", "stopped"); };
    EXPECT_THROW(upload(*device, {&region, 1}, 2, end), Error);
    upload(*device, {&region, 1}, 2, {});
}

TEST_P(Upload, ModelAndSlotsSayWhatWasCopied) {
    const ModelDescription model = describe_shape("lfm2moe,n_layer=3,n_layer_dense=1,n_expert=4,n_expert_used=2:F16");
    const SessionSizes sizes{.n_ctx = 64, .n_batch = 16, .n_outputs = 1};
    Plan plan = placed_plan(model, sizes, Placing::kAllOnDevice);
    std::ranges::fill(plan.experts, kHost);
    plan.n_slots[1] = plan.n_slots[2] = 2;
    Ledger ledger;
    const auto device = open({64 << 20}, ledger);
    const Model placed = Model::random(model, plan, 3, ledger, {.device = device.get(), .n_threads = 2});
    const Session session(placed, {.n_ctx = 64, .n_batch = 16, .n_threads = 2}, ledger);
    Bytes moved;
    for (const CopyRegion& region : placed.weights().uploads()) moved += Bytes{region.size};
    EXPECT_EQ(placed.uploaded().bytes, moved);
    const ExpertSizes& expert = placed.weights().expert_sizes(1);
    EXPECT_EQ(session.engine().residency().uploaded().bytes.value, 4 * (expert.gate + expert.up + expert.down));
}

INSTANTIATE_TEST_SUITE_P(Devices, Upload, testing::ValuesIn(kDeviceKinds), kind_name);

}  // namespace
}  // namespace lfm::test
