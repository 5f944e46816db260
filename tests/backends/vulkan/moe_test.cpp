// What the shared cases leave out of route and expert_ffn: NaN in the choice, ids that no expert has, one expert for
// all, and tables and slots that change between the replays of one recording.
#include "tests/backends/expert_layer.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

using namespace operation_cases;

constexpr std::uint32_t kMostTokens = 300;

class VulkanMoe : public ValidatedDevice {
protected:
    std::unique_ptr<Device> make(vulkan::Validation validation = vulkan::Validation::kCalls) {
        auto wanted = options(validation);
        wanted.limits = {.n_batch = kMostTokens, .n_ctx = kMostTokens};
        return vulkan::make_vulkan_device(wanted, ledger_);
    }

    Ledger ledger_;
};

/// The CPU backend's rule: k times the largest that remains. NaN is never larger, but wins when it comes first.
std::vector<std::int32_t> choice_of(std::span<const float> scores, std::size_t k) {
    std::vector<std::int32_t> ids;
    while (ids.size() < k) {
        std::int32_t best = -1;
        for (std::int32_t e = 0; e < static_cast<std::int32_t>(scores.size()); ++e) {
            if (std::ranges::find(ids, e) != ids.end()) continue;
            if (best < 0 || scores[static_cast<std::size_t>(e)] > scores[static_cast<std::size_t>(best)]) best = e;
        }
        ids.push_back(best);
    }
    return ids;
}

TEST_F(VulkanMoe, TheChoiceTakesTiesAndNaNToTheLowerIndex) {
    constexpr std::uint32_t kExperts = 70, kUsed = 6, kTokens = 40;
    const auto device = make();
    DeviceOperands operands(*device);
    // All logits are zero, so that the bias alone decides.
    Noise noise(3);
    for (const std::uint32_t n_nan : {0u, 1u, 3u, 66u}) {
        std::vector<float> bias(kExperts);
        for (float& each : bias) each = static_cast<float>(noise.below(9)) / 8;
        for (std::uint32_t i = 0; i < n_nan; ++i) bias[n_nan == 66 ? i : 23 * i] = NAN;
        std::vector<std::byte> router(std::size_t{4} * kExperts * 32);
        const RouteArgs args{
            .x = {operands.put(std::vector<float>(std::size_t{kTokens} * 32, 1.0f)), 32},
            .router = {operands.put(router), DType::kF32, kExperts, 32, 128},
            .bias = operands.put(bias),
            .n_expert_used = kUsed,
            .out = {operands.put(std::vector<std::int32_t>(kTokens * kUsed, -1)), operands.room(kTokens * kUsed)}};
        const Program program = operands.record({args});
        std::vector<float> scores = bias;
        for (float& each : scores) each += 0.5f;
        for (const std::uint32_t n : {1u, kTokens}) {
            operands.step.n_tokens = n;
            operands.run(program);
            const auto ids = operands.get(args.out.ids, n * kUsed);
            for (std::uint32_t t = 0; t < n; ++t)
                EXPECT_EQ(std::vector(&ids[t * kUsed], &ids[t * kUsed] + kUsed), choice_of(scores, kUsed))
                    << n_nan << " NaN, token " << t;
        }
    }
}

TEST_F(VulkanMoe, FollowsTablesAndSlotsFromStepToStep) {
    const auto device = make();
    DeviceOperands operands(*device);
    const Experts experts({DType::kQ4_K, DType::kQ8_0, DType::kQ5_0});
    Layer layer(operands, *device, experts, kMostTokens);
    for (std::uint32_t e = 0; e < Experts::kCount; ++e) layer.hold(e, e < 4 ? kSelf : kHost);
    for (std::size_t i = 0; i < layer.ids.size(); ++i) layer.ids[i] = static_cast<std::int32_t>(i * 5 / 3 % 6);
    for (const std::uint32_t n : {1u, 2u, 40u}) {
        SCOPED_TRACE(n);
        layer.hold(3, kSelf);
        layer.stage({});
        layer.expect_right(n, {0, 1, 2, 3}, {});
        layer.stage({1, 5});
        layer.hold(3, kHost);
        layer.expect_right(n, {0, 2}, {1, 5});
    }
}

TEST_F(VulkanMoe, OneExpertForAllAndIdsThatNoneHas) {
    const auto device = make();
    DeviceOperands operands(*device);
    const Experts experts({DType::kQ4_K, DType::kQ8_0, DType::kQ5_0});
    Layer layer(operands, *device, experts, kMostTokens);
    for (std::uint32_t e = 0; e < Experts::kCount; ++e) layer.hold(e, kSelf);
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
