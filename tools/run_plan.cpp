#include "tools/run_plan.h"

#include <algorithm>

#include "planner/placement.h"
#include "planner/plan_json.h"
#include "runtime/probe.h"
#include "tools/model_options.h"

namespace lfm::tools {
namespace {

Plan read_plan(const std::string& path, const ModelDescription& model) {
    Plan plan = parse_plan(read_text(path), path);
    if (const auto difference = mismatch(plan, model)) throw Error(ErrorCode::kInvalidInput, path, *difference);
    if (const auto difference = mismatch(plan, present_identity()))
        throw Error(ErrorCode::kInvalidInput, path, *difference);
    if (plan.used(kDevice).value > 0)
        throw Error(ErrorCode::kInvalidInput, path,
                    "expected a plan for the CPU alone, found one for " + plan.machine.device_name + " (" +
                        plan.machine.device_backend + "), for which this program has no backend");
    return plan;
}

void check_ram(const ModelDescription& model, const SessionSizes& sizes, Bytes budget) {
    const Inventory inventory = take_inventory(model, sizes);
    const Bytes needed = inventory.weights() + inventory.kv() + inventory.conv_state() + inventory.activations +
                         inventory.scratch + inventory.vectors;
    if (needed > budget)
        throw Error(ErrorCode::kShortfall, "--ram-budget",
                    "needs " + format_bytes(needed) + " with " + std::to_string(sizes.n_ctx) +
                        " tokens of context, the budget is " + format_bytes(budget));
}

}  // namespace

PlannedRun plan_run(const RunOptions& options, const ModelDescription& model, const Console& console) {
    PlannedRun run{{}, options.compute};
    SessionOptions& session = run.session;
    if (options.plan_file) {
        run.plan = read_plan(*options.plan_file, model);
        session.n_ctx = run.plan.sizes.n_ctx;
        session.n_batch = run.plan.sizes.n_batch;
        session.kv = run.plan.sizes.kv;
        return run;
    }
    const std::uint32_t n_ctx_train = model.hyper.n_ctx_train > 0 ? model.hyper.n_ctx_train : kDefaultContext;
    session.n_ctx = options.n_ctx > 0 ? options.n_ctx : std::min(n_ctx_train, kDefaultContext);
    session.n_batch = std::min(session.n_batch, session.n_ctx);
    const SessionSizes sizes{session.n_ctx, session.n_batch, session.n_outputs, session.kv};
    if (options.ram_budget) check_ram(model, sizes, *options.ram_budget);
    if (options.vram_budget && options.vram_budget->value > 0)
        console.note("this program has no GPU backend: everything in RAM, no VRAM is used");
    run.plan = make_host_plan(model, sizes);
    return run;
}

}  // namespace lfm::tools
