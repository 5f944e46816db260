#include "planner/cost/inventory.h"

#include <cmath>

#include <gtest/gtest.h>

#include "planner/model/shape.h"

namespace lfm {
namespace {

TEST(Inventory, AddsUpToTheWeightsOfEveryShape) {
    for (const std::string& name : shape_names()) {
        for (const char* type : {"F32", "F16", "Q4_0", "Q8_0", "Q4_K_M", "Q5_K_M", "Q6_K"}) {
            const ModelDescription model = describe_shape(name + ":" + type);
            EXPECT_EQ(take_inventory(model, {.n_ctx = 4096}).weights(), weight_bytes(model)) << name << ' ' << type;
        }
    }
}

/// Liquid AI's files of LFM2-24B-A2B, in GB with one decimal; header and vocabulary are a few MB of that.
TEST(Inventory, HasThePublishedSizesOfThe24BModel) {
    const std::pair<const char*, double> published[] = {{"Q4_0", 13.5}, {"Q4_K_M", 14.4}, {"Q5_K_M", 16.9},
                                                        {"Q6_K", 19.6}, {"Q8_0", 25.4},   {"F16", 47.7}};
    for (const auto& [type, gb] : published) {
        const ModelDescription model = describe_shape(std::string("lfm2-24b-a2b:") + type);
        const auto bytes = static_cast<double>(take_inventory(model, {}).weights().value);
        EXPECT_NEAR(bytes / 1e9, gb, 0.055) << type;
    }
}

TEST(Inventory, KnowsTheStateOfThe24BModel) {
    const ModelDescription model = describe_shape("lfm2-24b-a2b:Q4_0");
    const Inventory inventory = take_inventory(model, {.n_ctx = 8192});
    EXPECT_EQ(inventory.kv().value, 20u * 1024 * 8192);           // 20 KiB a token in f16
    EXPECT_EQ(inventory.conv_state().value, 30u * 4 * 2048 * 4);  // 960 KiB: windows of 2 rows, and room for a step's
    std::uint32_t n_experts = 0;
    for (const LayerInventory& layer : inventory.layers) n_experts += layer.n_expert;
    EXPECT_EQ(n_experts, 2432u);
    EXPECT_EQ(inventory.layers[2].expert.value, 3u * 2048 * 1536 / 32 * 18);
}

}  // namespace
}  // namespace lfm
