// What the shared cases leave out of attention: groups of any number of heads, head sizes up to 256, a cache so long
// that one token's keys are split among groups, and its replays at every kind of position.
#include "tests/backends/device_operands.h"
#include "tests/backends/step_sequence.h"
#include "tests/backends/vulkan/validated_device.h"

namespace lfm::test {
namespace {

using namespace operation_cases;

constexpr std::uint32_t kMostTokens = 40, kContext = 3000;

class VulkanAttention : public ValidatedDevice {
protected:
    std::unique_ptr<Device> make(vulkan::Validation validation = vulkan::Validation::kCalls) {
        auto wanted = options(validation);
        wanted.limits = {.n_batch = kMostTokens, .n_ctx = kContext};
        return vulkan::make_vulkan_device(wanted, ledger_);
    }

    Ledger ledger_;
};

struct Heads {
    std::uint32_t head_dim, n_head_kv, n_group;
};

/// A full cache of random keys and values, and kMostTokens random queries.
class Attention {
public:
    Attention(DeviceOperands& operands, const Heads& heads, DType k_type, DType v_type, std::uint32_t n_positions)
        : operands_(operands), heads_(heads) {
        Noise noise(heads.head_dim + heads.n_group);
        const std::size_t n_kv = heads.n_head_kv * heads.head_dim, n_q = n_kv * heads.n_group;
        q_ = noise.values(kMostTokens * n_q, 2);
        const auto cache = [&](DType type, std::vector<double>& values) {
            const auto bytes = reference::stored(type, noise.values(n_positions * n_kv));
            values = naive_weights(type, bytes.data(), n_positions * n_kv);
            return operands.put(bytes);
        };
        args_ = {.q = {operands.put(q_), static_cast<std::uint32_t>(n_q)},
                 .cache = {cache(k_type, k_), cache(v_type, v_), k_type, v_type, heads.n_head_kv, heads.head_dim},
                 .out = {operands.room(q_.size()), static_cast<std::uint32_t>(n_q)}};
        program_ = operands.record({args_});
    }

    double run(std::uint32_t position, std::uint32_t n) {
        operands_.set(args_.out.data, std::vector<float>(q_.size(), NAN));
        operands_.step = {.n_tokens = n};
        follow(operands_.step, sequence_, position);
        operands_.run(program_);
        const std::size_t n_kv = std::size_t{position + n} * heads_.n_head_kv * heads_.head_dim;
        const auto expected = reference::attention(
            std::span(q_).first(std::size_t{n} * args_.q.n_cols), std::span(k_).first(n_kv), std::span(v_).first(n_kv),
            {n, position, heads_.n_head_kv * heads_.n_group, heads_.n_head_kv, heads_.head_dim});
        return nmse(operands_.get(args_.out.data, std::size_t{n} * args_.q.n_cols), expected);
    }

private:
    DeviceOperands& operands_;
    Heads heads_;
    std::vector<float> q_;
    std::vector<double> k_, v_;
    StepSequence sequence_;
    AttentionArgs args_;
    Program program_;
};

TEST_F(VulkanAttention, HeadsOfAnySize) {
    struct Case {
        Heads heads;
        DType k_type, v_type;
    };
    using enum DType;
    const auto device = make();
    DeviceOperands operands(*device);
    for (const auto& [heads, k_type, v_type] :
         {Case{{32, 1, 1}, kF16, kF16}, Case{{64, 2, 3}, kQ8_0, kQ8_0}, Case{{64, 1, 40}, kF16, kF32},
          Case{{96, 2, 5}, kQ8_0, kF16}, Case{{128, 1, 20}, kF32, kF32}, Case{{256, 2, 12}, kF16, kQ8_0},
          Case{{160, 1, 2}, kF32, kQ8_0}, Case{{36, 1, 2}, kF16, kF32}}) {
        SCOPED_TRACE(std::to_string(heads.head_dim) + " x " + std::to_string(heads.n_group));
        operands.clear();
        Attention attention(operands, heads, k_type, v_type, 80);
        for (const auto& [position, n] : {std::pair{0u, 1u}, {0u, 2u}, {3u, 33u}, {79u, 1u}, {40u, 40u}})
            EXPECT_LT(attention.run(position, n), 1e-10) << n << " tokens from " << position;
    }
}

TEST_F(VulkanAttention, ALongCacheAtEveryKindOfPosition) {
    const auto device = make();
    DeviceOperands operands(*device);
    for (const auto& [k_type, v_type] : {std::pair{DType::kF32, DType::kQ8_0}, {DType::kF16, DType::kF16}}) {
        operands.clear();
        Attention attention(operands, {64, 2, 4}, k_type, v_type, kContext);
        for (const std::uint32_t position : {0u, 62u, 63u, 64u, 127u, 128u, 1000u, 2047u, 2048u, 2100u, kContext - 1})
            EXPECT_LT(attention.run(position, 1), 1e-10) << "one token at " << position;
        for (const std::uint32_t position : {1u, 1023u, kContext - 9})
            EXPECT_LT(attention.run(position, 9), 1e-10) << "nine tokens from " << position;
    }
}

TEST_F(VulkanAttention, RefusesHeadsItCannotCut) {
    const auto device = make();
    DeviceOperands operands(*device);
    EXPECT_EQ(error_of([&] {
                  Attention(operands, {288, 1, 1}, DType::kF16, DType::kF16, 2);
              }),
              ErrorCode::kUnsupportedModel);
    EXPECT_EQ(error_of([&] {
                  Attention(operands, {30, 1, 1}, DType::kF16, DType::kF16, 2);
              }),
              ErrorCode::kUnsupportedModel);
}

}  // namespace
}  // namespace lfm::test
