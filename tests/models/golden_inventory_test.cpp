// Bytes that the planner places are the bytes of the file.
#include <gtest/gtest.h>

#include "planner/cost/inventory.h"
#include "tests/models/golden_models.h"

namespace lfm::test {
namespace {

TEST(GoldenInventory, HasEveryByteOfTheFiles) {
    const auto models = golden_models();
    if (models.empty()) GTEST_SKIP() << "no golden data: set LFM_GOLDEN";
    for (const GoldenModel& golden : models) {
        const GgufFile file = GgufFile::open(golden.path);
        const ModelDescription model = describe_model(file);
        std::uint64_t padded = 0;
        for (const TensorRef* tensor : all_tensors(model)) padded += (tensor->bytes.value + 31) / 32 * 32;
        const std::uint64_t placed = take_inventory(model, {.n_ctx = 64}).weights().value;
        EXPECT_EQ(placed, weight_bytes(model).value) << golden.name;
        EXPECT_LE(placed, padded);
        // The data section ends with its last tensor, padded or not.
        EXPECT_GE(file.data().size() + 31, padded) << golden.name;
        EXPECT_LE(file.data().size(), padded) << golden.name;
    }
}

}  // namespace
}  // namespace lfm::test
