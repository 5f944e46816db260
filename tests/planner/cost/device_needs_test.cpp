// What devices take beside what is placed there. (That it is what backends allocate: tests/runtime/session/
// planned_memory_test.cpp, vulkan_budget_test.cpp.)
#include "planner/cost/device_needs.h"

#include <array>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "planner/model/shape.h"

namespace lfm {
namespace {

constexpr std::array kBackends{"sim", "vulkan", "cuda", "hip", "emulated"};

ModelDescription small() {
    return describe_shape(
        "lfm2moe,n_layer=6,n_layer_dense=2,n_embd=256,n_head=4,n_head_kv=2,n_ff=512,n_ff_exp=64,n_expert=16,"
        "n_expert_used=3,n_vocab=500:Q4_K");
}

Placement random_placement(const ModelDescription& model, std::mt19937& random) {
    Placement placement = host_placement(model.layers.size());
    placement.output = random() % 2 == 0 ? kHost : kDevice;
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
        if (random() % 2 == 0) continue;
        placement.layers[i].home = kDevice;
        if (!model.layers[i].is_moe()) continue;
        ExpertShare& share = placement.layers[i].experts;
        share.n_resident = static_cast<std::uint32_t>(random() % (model.hyper.n_expert + 1));
        share.n_slots = static_cast<std::uint32_t>(random() % (model.hyper.n_expert - share.n_resident + 1));
    }
    return placement;
}

TEST(DeviceNeeds, NoPlacementNeedsMoreThanTheMost) {
    const ModelDescription model = small();
    const SessionSizes sizes{.n_ctx = 4096, .n_batch = 64};
    constexpr std::uint32_t kStaged = 4;
    std::mt19937 random(1);
    for (const char* backend : kBackends) {
        const DeviceNeeds needs(model, sizes, backend);
        for (int i = 0; i < 200; ++i) {
            const Placement placement = random_placement(model, random);
            std::vector<std::uint32_t> n_streamed;
            for (const LayerPlacement& layer : placement.layers)
                n_streamed.push_back(static_cast<std::uint32_t>(random() % (layer.experts.n_resident + 1)));
            EXPECT_LE(needs.scratch(placement), needs.most_scratch()) << backend;
            EXPECT_LE(needs.staging(placement, n_streamed, kStaged), needs.most_staging(kStaged)) << backend;
        }
    }
}

TEST(DeviceNeeds, GrowWithTheStepAndTheContext) {
    const ModelDescription model = small();
    for (const char* backend : kBackends) {
        Bytes last;
        for (const std::uint32_t n_batch : {1u, 16u, 64u, 512u}) {
            const SessionSizes sizes{.n_ctx = 4096, .n_batch = n_batch};
            const Bytes now = DeviceNeeds(model, sizes, backend).most_scratch();
            EXPECT_GE(now, last) << backend << ' ' << n_batch;
            last = now;
        }
        const SessionSizes few{.n_ctx = 128, .n_batch = 16}, many{.n_ctx = 32768, .n_batch = 16};
        EXPECT_LE(DeviceNeeds(model, few, backend).most_scratch(), DeviceNeeds(model, many, backend).most_scratch());
    }
}

TEST(DeviceNeeds, AreCountedInWhatDriversHandOut) {
    const ModelDescription model = small();
    const SessionSizes sizes{.n_ctx = 4096, .n_batch = 64};
    // A card hands memory out in large units, its emulation exactly.
    EXPECT_GT(DeviceNeeds(model, sizes, "cuda").most_scratch(), DeviceNeeds(model, sizes, "emulated").most_scratch());
    EXPECT_EQ(DeviceNeeds(model, sizes, "cuda").most_scratch(), DeviceNeeds(model, sizes, "hip").most_scratch());
}

TEST(DeviceNeeds, NothingIsStagedWhereEveryExpertIsThere) {
    const ModelDescription model = small();
    const SessionSizes sizes{.n_ctx = 4096, .n_batch = 64};
    const std::vector<std::uint32_t> none(model.layers.size(), 0);
    for (const char* backend : kBackends) {
        EXPECT_EQ(DeviceNeeds(model, sizes, backend).staging(device_placement(model), none, 4), Bytes{}) << backend;
        EXPECT_EQ(DeviceNeeds(model, sizes, backend).staging(host_placement(model.layers.size()), none, 4), Bytes{})
            << backend;
    }
}

}  // namespace
}  // namespace lfm
