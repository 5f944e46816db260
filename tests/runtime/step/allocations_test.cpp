// Nothing is allocated during a decode step, whatever lies where.
#include <gtest/gtest.h>

#include "backends/sim/sim_device.h"
#include "planner/model/shape.h"
#include "runtime/session/session.h"
#include "tests/allocation_counter.h"
#include "tests/runtime/random_placement.h"

namespace lfm::test {
namespace {

constexpr const char* kMoe =
    "lfm2moe,n_layer=6,n_layer_dense=2,n_embd=64,n_head=2,n_head_kv=1,n_ff=96,n_ff_exp=32,n_expert=8,"
    "n_expert_used=3,n_vocab=200:F16";

class Allocations : public testing::TestWithParam<std::uint32_t> {};

TEST_P(Allocations, ADecodeStepMakesNone) {
    const std::uint32_t seed = GetParam();
    const ModelDescription description = describe_shape(kMoe);
    Ledger ledger;
    const auto device = sim::make_sim_device({.budget = {1ull << 30}, .limits = {.n_batch = 16, .n_ctx = 512}}, ledger);
    const Plan plan = placed_plan(description, {.n_ctx = 256, .n_batch = 16}, Placing::kRandom, seed);
    const Model model = Model::random(description, plan, 3, ledger, {device.get()});
    SessionOptions options{.n_ctx = 256, .n_batch = 16, .n_threads = 2};
    if (seed % 2 == 0)  // copying costs nothing: every missing expert travels
        options.expert_times.assign(description.hyper.n_layer, ExpertTimes{.host = 1, .host_while_copying = 1});
    Session session(model, options, ledger);
    const auto decode = [&](std::int32_t n) {
        for (std::int32_t i = 0; i < n; ++i) {
            const std::int32_t token = (1 + i * 37) % 200;
            session.append(std::span(&token, 1));
        }
    };
    decode(60);  // rings and the threads of oneTBB grow to their size
    const AllocationCounter counter;
    decode(20);
    EXPECT_EQ(counter.calls(), 0u);
}

INSTANTIATE_TEST_SUITE_P(Placements, Allocations, testing::Range(0u, 12u));

}  // namespace
}  // namespace lfm::test
