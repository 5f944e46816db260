// What the forward pass records, layer by layer, and that the planner counts the same.
#include "runtime/step/layer_program.h"

#include <gtest/gtest.h>

#include "backends/sim/sim_device.h"
#include "planner/cost/decode_cost.h"
#include "planner/model/shape.h"
#include "runtime/experts/expert_residency.h"
#include "runtime/tensors/model.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr SessionSizes kSizes{.n_ctx = 64, .n_batch = 16};

/// The letters of a stage's operations, in order.
std::string letters(const Stage& stage) {
    struct Letter {
        char operator()(const EmbedArgs&) const { return 'E'; }
        char operator()(const RmsNormArgs&) const { return 'n'; }
        char operator()(const MatmulArgs&) const { return 'm'; }
        char operator()(const QkNormRopeArgs&) const { return 'r'; }
        char operator()(const KvAppendArgs&) const { return 'k'; }
        char operator()(const AttentionArgs&) const { return 'A'; }
        char operator()(const ShortConvArgs&) const { return 'C'; }
        char operator()(const SwigluArgs&) const { return 's'; }
        char operator()(const RouteArgs&) const { return 'R'; }
        char operator()(const ExpertFfnArgs&) const { return 'X'; }
        char operator()(const AddArgs&) const { return '+'; }
        char operator()(const CopyArgs&) const { return '='; }
    };
    std::string text;
    for (const Operation& operation : stage.operations) text += std::visit(Letter(), operation);
    return text;
}

/// The program of a plan, with all that it names.
class Recorded {
public:
    explicit Recorded(const Plan& plan)
        : device_(sim::make_sim_device({.budget = {1ull << 30}, .limits = {.n_batch = 16, .n_ctx = 64}}, ledger_)),
          model_(Model::random(description(), plan, 3, ledger_, {device()})),
          pool_(hyper(), kSizes),
          residency_({plan, model_.weights(), device(), times_, Adaptation::kOff, 1}),
          staging_(plan, model_.weights(), device()),
          rows_(hyper(), {kSizes.n_batch, 1}, staging_.layout().n_rounds(), device(), ledger_),
          stages_(program(plan)) {}

    /// Two layers with a dense network, two with experts; of each kind one is a convolution and one attention.
    static const ModelDescription& description() {
        static const ModelDescription made = describe_shape(
            "lfm2moe,n_layer=6,n_layer_dense=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=32,n_expert=8,"
            "n_expert_used=3,n_vocab=200:F16");
        return made;
    }
    static const HyperParameters& hyper() { return description().hyper; }
    const std::vector<Stage>& stages() const { return stages_; }
    std::string of(const std::string& name) const {
        for (const Stage& stage : stages_)
            if (stage.name == name) return letters(stage);
        return "no such stage";
    }

private:
    std::vector<Stage> program(const Plan& plan) {
        pool_.place({plan.layers, device()}, ledger_);
        return make_layer_program(
            {hyper(), plan, model_.weights(), pool_, rows_, staging_.layout(), residency_.table()});
    }
    Device* device() const { return device_.get(); }

    Ledger ledger_;
    std::unique_ptr<Device> device_;
    std::vector<ExpertTimes> times_;
    Model model_;
    StatePool pool_;
    ExpertResidency residency_;
    Staging staging_;
    StepRows rows_;
    std::vector<Stage> stages_;
};

std::string mixer(const LayerDescription& layer) { return layer.is_attention() ? "mrkAm" : "mCm"; }

TEST(LayerProgram, ReadsAsTheModelIs) {
    const ModelDescription& model = Recorded::description();
    const Recorded recorded(make_host_plan(model, kSizes));
    ASSERT_EQ(recorded.stages().size(), model.layers.size() + 2);
    EXPECT_EQ(recorded.of("embed"), "E");
    std::size_t n_attention = 0, n_moe = 0;
    for (std::size_t i = 0; i < model.layers.size(); ++i) {
        const LayerDescription& layer = model.layers[i];
        const std::string ffn = layer.is_moe() ? "RX" : "msm";
        EXPECT_EQ(recorded.of("blk." + std::to_string(i)), "n" + mixer(layer) + "+n" + ffn + "+") << i;
        n_attention += layer.is_attention();
        n_moe += layer.is_moe();
    }
    EXPECT_TRUE(n_attention > 0 && n_attention < model.layers.size() && n_moe > 0);
    EXPECT_EQ(recorded.of("output").back(), 'm');
}

// decode_cost.h: home_operations, kOutputOperations, kSetOperations.
TEST(LayerProgram, ThePlannerCountsTheSame) {
    const ModelDescription& model = Recorded::description();
    const Recorded recorded(make_host_plan(model, kSizes));
    for (std::size_t i = 0; i < model.layers.size(); ++i)
        EXPECT_EQ(recorded.of("blk." + std::to_string(i)).size(),
                  home_operations(model.layers[i]) + (model.layers[i].is_moe() ? kSetOperations - 1 : 0))
            << "the addition of the experts counts once";
    EXPECT_EQ(recorded.of("embed").size() + recorded.of("output").size(), kOutputOperations);

    Plan plan = placed_plan(model, kSizes, Placing::kAllOnDevice);
    const std::size_t layer = model.hyper.n_layer_dense;
    plan.experts[layer * model.hyper.n_expert] = kHost;
    plan.n_staged = 2;
    plan.n_streamed[layer] = 1;
    const Recorded split(plan);
    const std::string name = "blk." + std::to_string(layer);
    EXPECT_EQ(split.of(name).size(), home_operations(model.layers[layer]) - 1 + kChoiceOperations);
    EXPECT_EQ(split.of(name).back(), '=') << "the choice crosses";
    EXPECT_EQ(split.of(name + " hot").size(), kSetOperations);
    EXPECT_EQ(split.of(name + " streamed").size(), kSetOperations);
    EXPECT_EQ(split.of(name + " cold"), "X");
    EXPECT_EQ(split.of(name + " join"), "+");
}

TEST(LayerProgram, AnEdgeIsAStageOfTheDevice) {
    const ModelDescription& model = Recorded::description();
    Plan plan = make_host_plan(model, kSizes);
    plan.layers[1] = plan.layers[2] = kDevice;
    for (std::size_t e = 2 * model.hyper.n_expert; e < 3 * model.hyper.n_expert; ++e) plan.experts[e] = kDevice;
    const Recorded recorded(plan);
    std::vector<std::string> names;
    for (const Stage& stage : recorded.stages()) names.push_back(stage.name);
    ASSERT_EQ(names, (std::vector<std::string>{"embed", "blk.0", "blk.1 edge", "blk.1", "blk.2", "blk.3 edge", "blk.3",
                                               "blk.4", "blk.5", "output"}));
    EXPECT_EQ(recorded.of("blk.1 edge"), "=");
    EXPECT_EQ(recorded.of("blk.3 edge"), "=");
    for (const std::size_t edge : {2, 5}) EXPECT_EQ(recorded.stages()[edge].device, kDevice);
    EXPECT_EQ(recorded.stages()[2].after, std::vector<std::uint32_t>{1}) << "waits for the host's layer";
    EXPECT_EQ(recorded.stages()[6].after, std::vector<std::uint32_t>{5}) << "the host waits for the edge";
    EXPECT_TRUE(recorded.stages()[3].after.empty()) << "in turn behind the edge";
    EXPECT_EQ(recorded.of("blk.1").size(), home_operations(model.layers[1]));
}

TEST(LayerProgram, AStageWaitsOnlyForEarlierOnesOfTheOtherSide) {
    for (std::uint32_t seed = 0; seed < 40; ++seed) {
        const Plan plan = placed_plan(Recorded::description(), kSizes, Placing::kRandom, seed);
        const Recorded recorded(plan);
        const auto on_device = [&](std::size_t i) { return recorded.stages()[i].device != kHost; };
        for (std::size_t i = 0; i < recorded.stages().size(); ++i)
            for (const std::uint32_t before : recorded.stages()[i].after) {
                EXPECT_LT(before, i) << seed;
                EXPECT_NE(on_device(before), on_device(i)) << seed << ' ' << recorded.stages()[i].name;
            }
    }
}

}  // namespace
}  // namespace lfm::test
