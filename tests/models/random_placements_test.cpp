// Layers with their state, experts, embedding and output placed at random give what the host alone gives, with forced
// routes.
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>

#include "planner/model/shape.h"
#include "tests/device_kinds.h"
#include "tests/models/golden_models.h"
#include "tests/program_folder.h"
#include "tests/runtime/random_placement.h"
#include "tests/scaled_plan.h"
#include "tests/tools/process.h"
#include "tests/tools/scratch_dir.h"

namespace lfm::test {
namespace {

constexpr Bytes kBudget{std::uint64_t{1} << 30};
constexpr std::uint32_t kTokens = 48;
constexpr std::uint32_t kSingle = 6;  // of them, at the end, one by one
constexpr SessionSizes kSizes{.n_ctx = kTokens, .n_batch = kTokens, .n_outputs = kTokens};

/// The routing and expert width of the flagship (LFM2-24B-A2B) in a model that is small otherwise.
constexpr const char* kFlagshipRouting =
    "lfm2moe,n_layer=4,n_layer_dense=1,n_embd=128,n_head=4,n_head_kv=2,n_ff=256,n_ff_exp=1536,n_expert=64,"
    "n_expert_used=4,n_vocab=512:Q4_K_M";
/// The same from a file that lfm-eval makes.
constexpr const char* kFlagshipRoutingFile =
    "lfm2moe,n_layer=3,n_layer_dense=1,n_embd=32,n_head=2,n_head_kv=1,n_ff=64,n_ff_exp=1536,n_expert=64,"
    "n_expert_used=4,n_vocab=512:Q4_0";
/// As many layers and experts as the flagship's, with small rows: steps of many tokens take thousands of launches.
constexpr const char* kManyLaunches =
    "lfm2moe,n_layer=40,n_layer_dense=2,n_embd=32,n_head=1,n_head_kv=1,n_ff=32,n_ff_exp=32,n_expert=64,"
    "n_expert_used=4,n_vocab=512:F32";
constexpr std::uint32_t kLongStep = 512;
constexpr SessionSizes kLongSizes{.n_ctx = kLongStep + 2, .n_batch = kLongStep, .n_outputs = 1};
/// Used where there are no golden models.
constexpr const char* kSmallMoe =
    "lfm2moe,n_layer=6,n_layer_dense=2,n_embd=128,n_head=4,n_head_kv=2,n_ff=256,n_ff_exp=64,n_expert=8,"
    "n_expert_used=3,n_vocab=500";

/// A model in any placement: logits [kTokens, n_vocab] on the same tokens and routes.
class Case {
public:
    virtual ~Case() = default;
    virtual ModelDescription description() const = 0;
    /// `device` null: everything on the host.
    virtual std::vector<float> run(const Plan& plan, Device* device, const SessionOptions& options) const = 0;
};

class GoldenCase final : public Case {
public:
    explicit GoldenCase(GoldenModel golden) : golden_(std::move(golden)) {}

    ModelDescription description() const override { return describe(golden_); }
    std::vector<float> run(const Plan& plan, Device* device, const SessionOptions& options) const override {
        return forward(golden_, {.options = options,
                                 .routing = golden_.routes.empty() ? Routing::kRouter : Routing::kGolden,
                                 .plan = &plan,
                                 .device = device,
                                 .n_single = kSingle})
            .logits;
    }

private:
    GoldenModel golden_;
};

/// Forces routes by a formula: experts with neighbouring numbers, so never one twice; some come often.
class RandomRoutesCase : public Case {
public:
    std::vector<float> run(const Plan& plan, Device* device, const SessionOptions& options) const final {
        Ledger ledger;
        const Model model = load(plan, ledger, {device});
        Session session(model, options, ledger);
        const std::uint32_t n_expert = model.description().hyper.n_expert;
        session.force_experts([&](std::uint32_t layer, std::uint32_t position, std::uint32_t choice) {
            const std::uint32_t first = (layer * 7 + position * position) % n_expert;
            return static_cast<std::int32_t>((first + choice) % n_expert);
        });
        std::vector<std::int32_t> tokens;
        for (std::uint32_t i = 0; i < kTokens; ++i) tokens.push_back(static_cast<std::int32_t>(1 + i * 7919 % 400));
        std::vector<float> logits;
        const auto keep = [&](std::size_t, std::span<const float> rows) {
            logits.insert(logits.end(), rows.begin(), rows.end());
        };
        session.append_all(std::span(tokens).first(kTokens - kSingle), keep);
        for (std::size_t i = kTokens - kSingle; i < kTokens; ++i)
            session.append_all(std::span(tokens).subspan(i, 1), keep);
        return logits;
    }

private:
    virtual Model load(const Plan& plan, Ledger& ledger, const DeviceLoad& to) const = 0;
};

class RandomCase final : public RandomRoutesCase {
public:
    explicit RandomCase(std::string shape) : description_(describe_shape(shape)) {}

    ModelDescription description() const override { return description_; }

private:
    Model load(const Plan& plan, Ledger& ledger, const DeviceLoad& to) const override {
        return Model::random(description_, plan, 11, ledger, to);
    }

    ModelDescription description_;
};

/// A file of lfm-eval make.
class MadeFileCase final : public RandomRoutesCase {
public:
    explicit MadeFileCase(const std::string& shape) {
        const Result made = test::run({program_folder() / "lfm-eval", "make", "--shape", shape, "-o", path_});
        if (made.code != 0) throw std::runtime_error("lfm-eval make: " + made.err);
        description_ = describe_model(GgufFile::open(path_));
    }

    ModelDescription description() const override { return description_; }

private:
    Model load(const Plan& plan, Ledger& ledger, const DeviceLoad& to) const override {
        return Model::load(GgufFile::open(path_), description_, plan, ledger, to);
    }

    ScratchDir dir_;
    std::string path_ = dir_.file("made.gguf");
    ModelDescription description_;
};

/// kExact: reference kernels on the host, float activations on the device. Nothing is rounded to 8 bits, so that only
/// the placement makes a difference.
enum class Arithmetic { kFast, kExact };

int n_placements(int normally, int full) { return std::getenv("LFM_FULL") != nullptr ? full : normally; }

class RandomPlacements : public testing::TestWithParam<DeviceKind> {
protected:
    void SetUp() override {
        if (const std::string why = kind().absence(); !why.empty()) GTEST_SKIP() << why;
    }
    const DeviceKind& kind() const { return GetParam(); }

    static SessionOptions options(Arithmetic arithmetic) {
        return {.n_ctx = kTokens,
                .n_batch = kTokens,
                .n_outputs = kTokens,
                .n_threads = 2,
                .kernels = arithmetic == Arithmetic::kExact ? &cpu::exact_kernels() : nullptr};
    }
    static std::vector<float> on_host(const Case& model, Arithmetic arithmetic) {
        return model.run(make_host_plan(model.description(), kSizes), nullptr, options(arithmetic));
    }

    double limit(const Case& model, Arithmetic arithmetic) const {
        if (arithmetic == Arithmetic::kExact) return kind().exact_placement_nmse;
        const ModelDescription description = model.description();
        const bool quantised = std::ranges::any_of(all_tensors(description), [](const TensorRef* tensor) {
            return tensor->type != DType::kF32 && tensor->type != DType::kF16 && tensor->type != DType::kBF16;
        });
        return quantised ? kind().quantised_placement_nmse : kind().float_placement_nmse;
    }

    double error_of(const Case& model, const Plan& plan, const SessionOptions& options,
                    const std::vector<float>& expected) const {
        Ledger ledger;
        const bool exact = options.kernels == &cpu::exact_kernels();
        const auto device = kind().open({.budget = kBudget,
                                         .limits = {kTokens, kTokens},
                                         .activations = exact ? ActivationKind::kFloat : ActivationKind::kQuantised},
                                        ledger);
        const auto logits = model.run(with_supported_only(plan, model.description(), *device), device.get(), options);
        EXPECT_EQ(logits.size(), expected.size());
        return nmse(logits, expected);
    }

    /// Checks `n` placements, by seeds from `first_seed` on. Returns the largest error.
    double check(const Case& model, Arithmetic arithmetic, std::uint32_t first_seed, int n) const {
        const auto expected = on_host(model, arithmetic);
        const ModelDescription description = model.description();
        double largest = 0;
        for (int i = 0; i < n; ++i) {
            const std::uint32_t seed = first_seed + static_cast<std::uint32_t>(i);
            SCOPED_TRACE("seed " + std::to_string(seed));
            SessionOptions how = options(arithmetic);
            if (seed % 2 == 0)  // copying costs nothing: every missing expert travels
                how.expert_times.assign(description.hyper.n_layer, ExpertTimes{.host = 1, .host_while_copying = 1});
            const Plan plan = placed_plan(description, kSizes, Placing::kRandom, seed);
            const double error = error_of(model, plan, how, expected);
            EXPECT_LE(error, limit(model, arithmetic));
            largest = std::max(largest, error);
        }
        return largest;
    }

    /// Random placements, everything on the device, and a plan of the planner's.
    void check_all_ways(const Case& model) const {
        const ModelDescription description = model.description();
        for (const Arithmetic arithmetic : {Arithmetic::kFast, Arithmetic::kExact}) {
            const double most = limit(model, arithmetic);
            const double largest = check(model, arithmetic, 2, n_placements(kind().is_slow() ? 1 : 4, 16));
            std::cout << "largest nmse " << largest << " (at most " << most << ")\n";
            if (kind().is_slow()) continue;
            const auto expected = on_host(model, arithmetic);
            const auto error_with = [&](const Plan& plan) {
                return error_of(model, plan, options(arithmetic), expected);
            };
            EXPECT_LE(error_with(placed_plan(description, kSizes, Placing::kAllOnDevice)), most);
            const MachineProfile machine = scaled_machine({});
            const Bytes budget = budget_at(0.4, description, machine, kSizes);
            const Plan plan = std::get<Plan>(make_plan(description, machine, {.sizes = kSizes, .vram_budget = budget}));
            EXPECT_GT(plan.n_experts_on(kDevice), 0u);
            EXPECT_GT(plan.n_experts_on(kHost), 0u);
            EXPECT_LE(error_with(plan), most) << "the planner's";
        }
    }
};

std::vector<std::unique_ptr<Case>> two_moe_models() {
    std::vector<std::unique_ptr<Case>> models;
    for (GoldenModel& golden : golden_models())
        if (golden.name == "nano-F32.gguf" || golden.name == "tinymoe-Q4_K_M.gguf")
            models.push_back(std::make_unique<GoldenCase>(std::move(golden)));
    if (models.empty())
        for (const char* type : {":F32", ":BF16"})
            models.push_back(std::make_unique<RandomCase>(std::string(kSmallMoe) + type));
    return models;
}

TEST_P(RandomPlacements, OfTwoMoeModels) {
    for (const auto& model : two_moe_models()) {
        const double largest =
            check(*model, Arithmetic::kFast, kind().is_slow() ? 1 : 0, n_placements(kind().is_slow() ? 3 : 40, 200));
        std::cout << "largest nmse " << largest << " (at most " << limit(*model, Arithmetic::kFast) << ")\n";
    }
}

TEST_P(RandomPlacements, OfTwoMoeModelsExactly) {
    for (const auto& model : two_moe_models()) {
        const double largest =
            check(*model, Arithmetic::kExact, kind().is_slow() ? 1 : 0, n_placements(kind().is_slow() ? 3 : 10, 200));
        std::cout << "largest nmse " << largest << " (at most " << limit(*model, Arithmetic::kExact) << ")\n";
    }
}

TEST_P(RandomPlacements, OfEveryGoldenModel) {
    const auto models = golden_models();
    if (models.empty()) GTEST_SKIP() << "golden data absent: set LFM_GOLDEN to its folder";
    std::uint32_t seed = 1000;
    for (std::size_t i = 0; i < models.size(); i += kind().is_slow() ? 16 : 1) {
        SCOPED_TRACE(models[i].name);
        const GoldenCase model(models[i]);
        for (const Arithmetic arithmetic : {Arithmetic::kFast, Arithmetic::kExact}) {
            // From 2 on: every fifth seed, such as the first, puts nothing on the device but slots.
            const double largest = check(model, arithmetic, seed + 2, n_placements(kind().is_slow() ? 1 : 2, 8));
            std::cout << models[i].name << (arithmetic == Arithmetic::kExact ? ", exact" : "") << ": largest nmse "
                      << largest << " (at most " << limit(model, arithmetic) << ")\n";
        }
        seed += 20;
    }
}

TEST_P(RandomPlacements, OfTheFlagshipsRouting) { check_all_ways(RandomCase(kFlagshipRouting)); }

TEST_P(RandomPlacements, OfAMadeFileWithTheFlagshipsRouting) {
    const MadeFileCase model(kFlagshipRoutingFile);
    const ModelDescription description = model.description();
    EXPECT_EQ(description.hyper.n_expert, 64u);
    EXPECT_EQ(description.hyper.n_expert_used, 4u);
    EXPECT_EQ(description.hyper.n_ff_exp, 1536u);
    check_all_ways(model);
}

/// Logits of a long step, and of two tokens after it.
std::vector<float> run_long_step(const ModelDescription& description, const Plan& plan, Device* device) {
    Ledger ledger;
    const Model model = Model::random(description, plan, 11, ledger, {device});
    SessionOptions options{.n_ctx = kLongSizes.n_ctx, .n_batch = kLongStep, .n_threads = 2};
    options.after_loss = AfterLoss::kThrow;
    Session session(model, options, ledger);
    session.force_experts([&](std::uint32_t layer, std::uint32_t position, std::uint32_t choice) {
        return static_cast<std::int32_t>((layer * 7 + position * position + choice) % description.hyper.n_expert);
    });
    std::vector<std::int32_t> tokens;
    for (std::uint32_t i = 0; i < kLongStep; ++i) tokens.push_back(static_cast<std::int32_t>(1 + i * 7919 % 400));
    std::vector<float> logits;
    const std::span<const std::int32_t> all(tokens);
    for (const auto& part : {all, all.first(1), all.first(1)}) {
        const std::span<const float> rows = session.append(part);
        logits.insert(logits.end(), rows.begin(), rows.end());
    }
    return logits;
}

/// A lower bound of the launches of a long step.
std::uint32_t launches_of_long_step(const ModelDescription& description, const Plan& plan) {
    std::uint32_t n = 0;
    const HyperParameters& hyper = description.hyper;
    for (std::uint32_t layer = 0; layer < hyper.n_layer; ++layer) {
        if (plan.layers[layer] != kDevice) continue;
        constexpr std::uint32_t kLayer = 12, kHot = 8, kRound = 9;  // at least: backends/sim/launches.h
        n += kLayer;
        if (layer < hyper.n_layer_dense) continue;
        std::uint32_t n_cold = 0;
        for (std::uint32_t e = 0; e < hyper.n_expert; ++e)
            n_cold += plan.experts[std::size_t{layer} * hyper.n_expert + e] == kHost ? 1 : 0;
        const std::uint32_t n_per_round = plan.n_staged / 2;
        n += kHot + kRound * ((std::min(plan.n_streamed[layer], n_cold) + n_per_round - 1) / n_per_round);
    }
    return n;
}

TEST_P(RandomPlacements, OfLongStepsWithThousandsOfLaunches) {
    if (std::string(kind().name) == "Vulkan") GTEST_SKIP() << "its queue takes any number";
    if (const std::string why = left_to_full(kind()); !why.empty()) GTEST_SKIP() << why;
    const ModelDescription description = describe_shape(kManyLaunches);
    const auto expected = run_long_step(description, make_host_plan(description, kLongSizes), nullptr);
    constexpr std::uint32_t kMany = 3000;
    const bool is_sim = std::string(kind().name) == "Sim";
    const auto launches = [&](std::uint32_t seed) {
        return launches_of_long_step(description, placed_plan(description, kLongSizes, Placing::kRandom, seed));
    };
    // Seeds with many launches; on the simulated device others too.
    std::vector<std::uint32_t> seeds;
    std::uint32_t seed = 1;
    for (int n = is_sim ? n_placements(5, 20) : n_placements(1, 8); n > 0; ++seed)
        if (launches(seed) > kMany) {
            seeds.push_back(seed);
            --n;
        }
    if (is_sim)
        for (int i = 0; i < n_placements(5, 200); ++i) seeds.push_back(static_cast<std::uint32_t>(i));
    std::uint32_t most = 0;
    for (const std::uint32_t each : seeds) {
        SCOPED_TRACE("seed " + std::to_string(each));
        most = std::max(most, launches(each));
        const Plan plan = placed_plan(description, kLongSizes, Placing::kRandom, each);
        Ledger ledger;
        const auto device = kind().open({.budget = kBudget, .limits = {kLongStep, kLongSizes.n_ctx}}, ledger);
        const auto logits = run_long_step(description, with_supported_only(plan, description, *device), device.get());
        EXPECT_LE(nmse(logits, expected), kind().float_placement_nmse);
    }
    std::cout << seeds.size() << " placements, up to " << most << " launches a step\n";
}

INSTANTIATE_TEST_SUITE_P(Devices, RandomPlacements, testing::ValuesIn(kDeviceKinds), kind_name);

}  // namespace
}  // namespace lfm::test
