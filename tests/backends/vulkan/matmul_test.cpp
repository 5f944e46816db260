// What the shared cases leave out of matmul and embed: odd numbers of rows at odd addresses, replays with other numbers
// of rows, few outputs of many tokens, ids outside the table.
#include <numeric>

#include "tests/backends/device_operands.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

using namespace operation_cases;

constexpr std::uint32_t kMostTokens = 70;

class VulkanMatmul : public ValidatedDevice {
protected:
    std::unique_ptr<Device> make(vulkan::Validation validation = vulkan::Validation::kCalls) {
        auto wanted = options(validation);
        wanted.limits = {.n_batch = kMostTokens, .n_ctx = 128};
        return vulkan::make_vulkan_device(wanted, ledger_);
    }

    Ledger ledger_;
};

/// A weight of random blocks, its rows `padding` bytes apart, beginning `offset` bytes into its memory.
struct Weight {
    Weight(DeviceOperands& operands, DType type, std::uint32_t n_out, std::uint32_t n_in, std::size_t offset = 0,
           std::size_t padding = 0) {
        Random random(n_in + n_out);
        const std::size_t bytes = row_bytes(type, n_in), stride = bytes + padding;
        std::vector<std::byte> rows(stride * n_out - padding);
        for (std::uint32_t row = 0; row < n_out; ++row) {
            const std::vector<std::byte> blocks = random_blocks(type, n_in, random);
            std::ranges::copy(blocks, rows.begin() + static_cast<std::ptrdiff_t>(row * stride));
            for (const double value : naive_weights(type, blocks.data(), n_in)) values.push_back(value);
        }
        view = {operands.put(rows, offset), type, n_out, n_in, stride};
    }

    WeightView view;
    std::vector<double> values;
};

/// One weight and up to kMostTokens rows, recorded once.
class Multiplication {
public:
    Multiplication(DeviceOperands& operands, const Weight& weight, RowSet rows = RowSet::kTokens)
        : operands_(operands), weight_(weight), x_(Noise(7).activations(std::size_t{kMostTokens} * weight.view.n_in)) {
        MatmulArgs args{.x = {operands.put(x_), weight.view.n_in}, .n_outputs = 1, .rows = rows};
        args.outputs[0] = {weight.view,
                           {operands.room(std::size_t{kMostTokens} * weight.view.n_out), weight.view.n_out}};
        out_ = args.outputs[0].out.data;
        program_ = operands.record({args});
    }

    /// NMSE of the first n rows of the result; NaN when others were written.
    double run(std::uint32_t n) {
        const std::size_t n_out = weight_.view.n_out, n_in = weight_.view.n_in;
        operands_.set(out_, std::vector<float>(kMostTokens * n_out, NAN));
        operands_.run(program_);
        const std::vector<float> found = operands_.get(out_, kMostTokens * n_out);
        if (!std::ranges::all_of(std::span(found).subspan(n * n_out), [](float value) { return std::isnan(value); }))
            return NAN;
        const auto x = reference::as_multiplied(std::span(x_).first(n * n_in), weight_.view.type,
                                                reference::Activations::kQuantised);
        return nmse(found, reference::matmul(x, weight_.values, weight_.view.n_in).values);
    }

private:
    DeviceOperands& operands_;
    const Weight& weight_;
    std::vector<float> x_;
    float* out_ = nullptr;
    Program program_;
};

TEST_F(VulkanMatmul, MultipliesEveryType) {
    const auto device = make();
    DeviceOperands operands(*device);
    for (const DTypeInfo& info : all_dtypes()) {
        SCOPED_TRACE(info.name);
        operands.clear();
        const Weight weight(operands, info.type, 37, info.block_size == 1 ? 45 : info.block_size * 3);
        Multiplication multiplication(operands, weight);
        for (const std::uint32_t n : {1u, 2u, 3u, 17u, 64u, 65u}) {
            operands.step.n_tokens = n;
            EXPECT_LT(multiplication.run(n), 1e-10) << n << " tokens";
        }
    }
}

TEST_F(VulkanMatmul, RowsMayLieApartAtOddPlaces) {
    const auto device = make();
    DeviceOperands operands(*device);
    for (const DTypeInfo& info : all_dtypes()) {
        SCOPED_TRACE(info.name);
        const std::size_t unit = std::gcd(info.block_bytes, 16u);
        operands.clear();
        const Weight weight(operands, info.type, 5, info.block_size == 1 ? 65 : info.block_size, unit, 3 * unit);
        Multiplication multiplication(operands, weight);
        for (const std::uint32_t n : {1u, 3u}) {
            operands.step.n_tokens = n;
            EXPECT_LT(multiplication.run(n), 1e-10) << n << " tokens";
        }
    }
}

TEST_F(VulkanMatmul, AnyNumberOfOutputsOfAStep) {
    const auto device = make();
    DeviceOperands operands(*device);
    const Weight weight(operands, DType::kQ6_K, 300, 256);
    Multiplication multiplication(operands, weight, RowSet::kOutputs);
    for (const std::uint32_t n_tokens : {1u, kMostTokens})
        for (const std::uint32_t n_outputs : {0u, 1u, 4u, 5u, kMostTokens}) {
            if (n_outputs > n_tokens) continue;
            operands.step = {.n_tokens = n_tokens, .n_outputs = n_outputs};
            const double found = multiplication.run(n_outputs);
            EXPECT_LE(found, 1e-10) << n_outputs << " outputs of " << n_tokens << " tokens";
        }
}

TEST_F(VulkanMatmul, RefusesWeightsThatLoadsOfWordsCannotReach) {
    const auto device = make();
    DeviceOperands operands(*device);
    WeightView weight{operands.put(std::vector<std::byte>(1000)), DType::kQ4_K, 2, 256, 144};
    MatmulArgs args{.x = {operands.room(256), 256}, .n_outputs = 1};
    const auto recorded = [&](const WeightView& view) {
        args.outputs[0] = {view, {operands.room(2), 2}};
        return error_of([&] { operands.record({args}); });
    };
    EXPECT_EQ(recorded(weight), std::nullopt);
    weight.data += 2;
    EXPECT_EQ(recorded(weight), ErrorCode::kUnsupportedModel);
    weight = {weight.data - 2, DType::kQ4_0, 2, 40, 36};
    EXPECT_EQ(recorded(weight), ErrorCode::kUnsupportedModel);
}

TEST_F(VulkanMatmul, EmbedGivesZerosForIdsOutsideTheTable) {
    const auto device = make();
    DeviceOperands operands(*device);
    const Weight table(operands, DType::kQ6_K, 9, 512);
    const std::vector<std::int32_t> ids{8, -1, 0, 9, 1 << 30};
    operands.step = {.n_tokens = 5, .token_ids = ids.data()};
    const EmbedArgs args{table.view, {operands.room(5 * 512), 512}};
    operands.run(operands.record({args}));
    const std::vector<float> found = operands.get(args.out.data, 5 * 512);
    for (std::size_t i = 0; i < found.size(); ++i) {
        const std::int32_t id = ids[i / 512];
        const bool inside = id >= 0 && id < 9;
        const double expected = inside ? table.values[static_cast<std::size_t>(id) * 512 + i % 512] : 0;
        ASSERT_NEAR(found[i], expected, 1e-6 * std::fabs(expected)) << i;
    }
}

}  // namespace
}  // namespace lfm::test
