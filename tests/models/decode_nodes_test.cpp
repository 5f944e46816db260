// How many kernels a step of one token takes on the GPU backend, counted on the emulation, for a model with as many
// layers and experts as the 24B model but small rows. Keeps the numbers of nodes in backends/gpu/README.md true.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "planner/cost/placement.h"
#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "tests/device_kinds.h"

namespace lfm::test {
namespace {

constexpr const char* kShape =
    "lfm2moe,n_layer=40,n_layer_dense=2,attention=2.6.10.14.18.22.26.30.34.38,n_embd=64,n_head=2,n_head_kv=1,n_ff=64,"
    "n_ff_exp=32,n_expert=64,n_expert_used=4,n_vocab=512:Q4_0";
constexpr SessionSizes kSizes{.n_ctx = 256, .n_batch = 4, .n_outputs = 1};

enum class Experts { kResident, kSplit };

Plan plan_for(const ModelDescription& model, Experts experts) {
    Plan plan = make_host_plan(model, kSizes);
    plan.embedding = plan.output = kDevice;
    std::ranges::fill(plan.layers, kDevice);
    std::uint32_t i = 0;
    for (DeviceId& place : plan.experts) place = experts == Experts::kSplit && ++i % 2 == 0 ? kHost : kDevice;
    return plan;
}

/// The nodes of the third step of one token.
std::optional<StepNodes> nodes_of_step(const Plan& plan, const ModelDescription& description, const DeviceKind& kind) {
    Ledger ledger;
    const auto device =
        kind.open({.budget = {std::uint64_t{1} << 30}, .limits = {kSizes.n_batch, kSizes.n_ctx}}, ledger);
    const Model model = Model::random(description, plan, 11, ledger, {device.get()});
    Session session(model, {.n_ctx = kSizes.n_ctx, .n_batch = kSizes.n_batch, .n_threads = 2}, ledger);
    for (const std::int32_t token : {5, 6, 7}) session.append({&token, 1});
    return device->step_nodes();
}

class DecodeNodes : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (const std::string why = GetParam().absence(); !why.empty()) GTEST_SKIP() << why;
    }

    void expect_at_most(std::uint32_t most, std::uint32_t n_meetings, Experts experts) {
        const ModelDescription description = describe_shape(kShape);
        const std::optional<StepNodes> nodes = nodes_of_step(plan_for(description, experts), description, GetParam());
        ASSERT_TRUE(nodes);
        EXPECT_TRUE(nodes->is_graph);
        EXPECT_LE(nodes->total(), most);
        std::map<std::string, std::uint32_t> kernels;
        for (const StepNodes::Kind& kind : nodes->kinds) {
            kernels[kind.kernel] += kind.n;
            std::cout << kind.n << " " << kind.kernel << "\n";
        }
        EXPECT_EQ(kernels["meet"], n_meetings);
        EXPECT_EQ(kernels["copy"], 0u);
        EXPECT_EQ(kernels["route"], 0u);
        EXPECT_EQ(kernels["quantise"], 0u);
    }
};

TEST_P(DecodeNodes, WithEverythingResident) { expect_at_most(330, 1, Experts::kResident); }
/// The host is told of each layer's choice, and waited for.
TEST_P(DecodeNodes, WithExpertsSplitBetweenHostAndDevice) { expect_at_most(450, 2 * 38 + 1, Experts::kSplit); }

const auto kEmulated = [] {
    std::vector<DeviceKind> kinds;
    for (const DeviceKind& kind : kDeviceKinds)
        if (std::string(kind.name).starts_with("GpuWarp")) kinds.push_back(kind);
    return kinds;
}();
INSTANTIATE_TEST_SUITE_P(Devices, DecodeNodes, testing::ValuesIn(kEmulated), kind_name);

}  // namespace
}  // namespace lfm::test
