// What the planner says a session takes is what the session takes.
#include <gtest/gtest.h>

#include "planner/cost/inventory.h"
#include "planner/model/shape.h"
#include "runtime/session/session.h"

namespace lfm {
namespace {

TEST(PlannedMemory, IsWhatTheSessionAllocates) {
    const std::vector<std::string> shapes{"lfm2:Q4_0",
                                          "lfm2moe:Q4_0",
                                          "lfm2moe,n_expert=12,n_expert_used=3,output=separate:Q8_0",
                                          "lfm2,n_layer=5,attention=0.4,l_cache=4,n_vocab=333:F16",
                                          "lfm2moe,n_layer=3,n_layer_dense=0,attention=1:Q6_K",
                                          "lfm2moe,n_layer=6,n_layer_dense=6:Q4_K_M"};
    for (const std::string& shape : shapes) {
        const ModelDescription description = describe_shape(shape);
        for (const SessionSizes& sizes :
             {SessionSizes{.n_ctx = 100, .n_batch = 7, .n_outputs = 1},
              SessionSizes{
                  .n_ctx = 513, .n_batch = 128, .n_outputs = 5, .n_rewind = 8, .kv = {DType::kQ8_0, DType::kF32}}}) {
            Ledger ledger;
            const Model model = Model::random(description, make_host_plan(description, sizes), 1, ledger);
            const Session session(model,
                                  {.n_ctx = sizes.n_ctx,
                                   .n_batch = sizes.n_batch,
                                   .n_outputs = sizes.n_outputs,
                                   .n_rewind = sizes.n_rewind,
                                   .n_threads = 2,
                                   .kv = sizes.kv},
                                  ledger);
            const Inventory planned = take_inventory(description, sizes);
            const auto taken = [&](Purpose purpose) { return ledger.total(kHost, purpose).value; };
            EXPECT_EQ(planned.kv().value, taken(Purpose::kKvCache)) << shape;
            EXPECT_EQ(planned.conv_state().value, taken(Purpose::kConvState)) << shape;
            EXPECT_EQ(planned.activations.value, taken(Purpose::kActivations)) << shape;
            EXPECT_EQ(planned.scratch.value, taken(Purpose::kScratch)) << shape;
            EXPECT_EQ(planned.vectors.value + model.data().size(), taken(Purpose::kWeights)) << shape;
        }
    }
}

}  // namespace
}  // namespace lfm
