#include "tools/bench_prediction.h"

#include <algorithm>

#include "planner/make_plan.h"

namespace lfm::tools {

std::optional<double> predict(const ModelDescription& model, const MachineProfile& machine,
                              const SessionOptions& options, const BenchTest& test) {
    const cpu::Kernels& kernels = options.kernels != nullptr ? *options.kernels : cpu::best_kernels();
    if (kernels.name != machine.host.instruction_set || options.n_threads != machine.host.n_threads)
        return std::nullopt;
    if (model.hyper.n_expert_used > kMostExpertsUsed) return std::nullopt;
    PlanRequest request;
    request.sizes.n_ctx = test.n_depth + std::max(1u, test.n_prompt + test.n_gen);
    request.sizes.n_batch = std::max(1u, std::min(options.n_batch, test.n_prompt));
    request.sizes.kv = options.kv;
    request.vram_budget = Bytes{};
    request.ram_budget = Bytes{~std::uint64_t{0}};  // the model runs already
    request.depth = test.n_depth + test.n_gen / 2;
    const auto plan = make_plan(model, machine, request);
    if (!std::holds_alternative<Plan>(plan)) return std::nullopt;
    return test.n_gen > 0 ? std::get<Plan>(plan).decode.mid : std::get<Plan>(plan).prefill.mid;
}

}  // namespace lfm::tools
