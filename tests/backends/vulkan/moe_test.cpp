// What the shared cases leave out of route and expert_ffn: NaN in the choice, ids that no expert has, one expert for
// all, and tables and slots that change between the replays of one recording.
#include "tests/backends/device_operands.h"
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

/// The CPU backend's rule: one by one the largest; the first that remains stays when it is NaN.
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
        const ProgramId program = operands.record({args});
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

/// Small experts of three types in one block each, and what they make of the input.
struct Experts {
    static constexpr std::uint32_t kEmbd = 256, kFf = 288, kCount = 6;
    static constexpr DType kTypes[3] = {DType::kQ4_K, DType::kQ8_0, DType::kQ5_0};

    Experts() : values(kCount) {
        Random random(5);
        for (std::uint32_t e = 0; e < kCount; ++e)
            for (std::size_t i = 0; i < 3; ++i) {
                offsets[i] = i == 0 ? 0 : (offsets[i - 1] + row_bytes(kTypes[i - 1], kEmbd * kFf) + 15) / 16 * 16;
                const std::vector<std::byte> blocks = random_blocks(kTypes[i], kEmbd * kFf, random);
                bytes[e].resize(offsets[i]);
                bytes[e].insert(bytes[e].end(), blocks.begin(), blocks.end());
                const std::vector<double> w = naive_weights(kTypes[i], blocks.data(), kEmbd * kFf);
                values[e][i].assign(w.begin(), w.end());
            }
        slot_bytes = (bytes[0].size() + 15) / 16 * 16;
    }

    std::array<std::vector<std::byte>, kCount> bytes;
    std::vector<std::array<std::vector<double>, 3>> values;
    std::array<std::size_t, 3> offsets{};
    std::size_t slot_bytes = 0;
};

/// expert_ffn over changing tables, held and staged, recorded once.
class Layer {
public:
    static constexpr std::uint32_t kUsed = 3;

    Layer(DeviceOperands& operands, Device& device, const Experts& experts)
        : operands_(operands),
          experts_(experts),
          x_(Noise(1).activations(std::size_t{kMostTokens} * Experts::kEmbd)),
          slot_of_(device.allocate(MemoryKind::kShared, Purpose::kStaging, 4 * Experts::kCount)) {
        std::vector<std::byte> slots;
        for (const auto& bytes : experts.bytes) {
            places_.push_back(operands.put(bytes));
            slots.insert(slots.end(), bytes.begin(), bytes.end());
            slots.resize(slots.size() + experts.slot_bytes - bytes.size());
        }
        Noise noise(2);
        for (std::uint32_t i = 0; i < kMostTokens * kUsed; ++i) weights.push_back(noise.value());
        ids.resize(weights.size());
        held_ = {.x = {operands.put(x_), Experts::kEmbd},
                 .layer = {1},
                 .experts = &table,
                 .staged = {reinterpret_cast<std::int32_t*>(slot_of_.address()), operands.put(slots),
                            experts.slot_bytes, experts.offsets[1], experts.offsets[2]},
                 .gate_type = Experts::kTypes[0],
                 .up_type = Experts::kTypes[1],
                 .down_type = Experts::kTypes[2],
                 .n_ff = Experts::kFf,
                 .n_expert_used = kUsed,
                 .choice = {operands.put(ids), operands.put(weights)},
                 .out = {operands.room(x_.size()), Experts::kEmbd}};
        staged_ = held_;
        staged_.set = ExpertSet::kStaged;
        staged_.out.data = operands.room(x_.size());
        stage({});
        program_ = operands.record({held_, staged_});
    }

    void hold(std::uint32_t e, DeviceId holder) {
        const std::byte* at = places_[e];
        table.set({LayerId{1}, e}, {holder, at, at + experts_.offsets[1], at + experts_.offsets[2]});
    }
    /// Slot i holds expert i.
    void stage(const std::vector<std::uint32_t>& staged) {
        const auto slots = reinterpret_cast<std::int32_t*>(slot_of_.host().data());
        std::fill_n(slots, Experts::kCount, -1);
        for (const std::uint32_t e : staged) slots[e] = static_cast<std::int32_t>(e);
    }

    /// Runs a step of n tokens and compares both sets with the plain formulas.
    void expect_right(std::uint32_t n, const std::vector<std::uint32_t>& held,
                      const std::vector<std::uint32_t>& staged) {
        operands_.set(held_.choice.ids, ids);
        operands_.step.n_tokens = n;
        operands_.run(program_);
        EXPECT_LT(nmse_of(held_, n, held), 1e-6) << "held";
        EXPECT_LT(nmse_of(staged_, n, staged), 1e-6) << "staged";
    }

    ExpertTable table{2, Experts::kCount};
    std::vector<std::int32_t> ids;
    std::vector<float> weights;

private:
    double nmse_of(const ExpertFfnArgs& args, std::uint32_t n, const std::vector<std::uint32_t>& set) {
        std::vector<reference::ExpertMatrices> matrices(Experts::kCount);
        for (const std::uint32_t e : set)
            matrices[e] = {experts_.values[e][0], experts_.values[e][1], experts_.values[e][2]};
        std::vector<std::int32_t> known(ids.begin(), ids.begin() + n * kUsed);
        std::vector<float> counted(weights.begin(), weights.begin() + n * kUsed);
        for (std::size_t i = 0; i < known.size(); ++i)
            if (known[i] < 0 || known[i] >= static_cast<std::int32_t>(Experts::kCount)) {
                known[i] = 0;
                counted[i] = 0;
            }
        const auto expected = reference::expert_ffn({.x = std::span(x_).first(n * Experts::kEmbd),
                                                     .n_embd = Experts::kEmbd,
                                                     .n_ff = Experts::kFf,
                                                     .n_expert_used = kUsed,
                                                     .ids = known,
                                                     .weights = counted,
                                                     .experts = matrices,
                                                     .gate_type = args.gate_type,
                                                     .up_type = args.up_type,
                                                     .down_type = args.down_type},
                                                    reference::Activations::kQuantised);
        return nmse(operands_.get(args.out.data, n * Experts::kEmbd), expected.values);
    }

    DeviceOperands& operands_;
    const Experts& experts_;
    std::vector<float> x_;
    DeviceBlock slot_of_;
    std::vector<const std::byte*> places_;
    ExpertFfnArgs held_, staged_;
    ProgramId program_;
};

TEST_F(VulkanMoe, FollowsTablesAndSlotsFromStepToStep) {
    const auto device = make();
    DeviceOperands operands(*device);
    const Experts experts;
    Layer layer(operands, *device, experts);
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
    const Experts experts;
    Layer layer(operands, *device, experts);
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
