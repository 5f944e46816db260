#include "tools/run/plan.h"

#include <algorithm>

#include "planner/cost/placement.h"
#include "planner/plan/plan_json.h"
#include "planner/plan/ram_needs.h"
#include "runtime/probe/probe.h"
#include "tools/common/machine_cache.h"
#include "tools/common/model_options.h"
#include "tools/common/placed_model.h"
#include "tools/common/stop_signals.h"

namespace lfm::tools {
namespace {

Plan read_plan(const std::string& path, const ModelDescription& model) {
    Plan plan = parse_plan(read_text(path), path);
    if (const auto difference = mismatch(plan, model)) throw Error(ErrorCode::kInvalidInput, path, *difference);
    return plan;
}

/// A plan for a device needs that device, a measured one the machine it was measured on.
void check_device(const Plan& plan, const std::string& path, const DeviceChoice& device) {
    const MachineIdentity here = device.machine ? identity_of(*device.machine)
                                                : identity_of(profile_scope(find_devices(BackendName::kAuto), {}));
    if (!device.simulated)
        if (const auto difference = mismatch(plan, here)) throw Error(ErrorCode::kInvalidInput, path, *difference);
    if (plan.uses_device() && !device.open)
        throw Error(ErrorCode::kInvalidInput, path,
                    "expected a plan for the CPU alone, found one for " + plan.machine.device_name + " (" +
                        plan.machine.device_backend + "), which is not here");
}

/// A plan's file may say that it takes less than it does.
void check_budgets(const Plan& plan, const std::string& path, const ModelDescription& model,
                   const DeviceChoice& device) {
    const RamNeeds needs = ram_needs(model, plan);
    if (needs.total() > plan.ram_budget)
        throw Error(ErrorCode::kShortfall, path,
                    "needs " + format_bytes(needs.total()) + " of RAM (" + largest_part(needs, needs.weights) +
                        "), the plan's budget is " + format_bytes(plan.ram_budget));
    if (!plan.uses_device()) return;
    Bytes budget = plan.vram_budget;
    const DeviceProfile& profile = device.machine->devices[device.device];
    const Bytes free = profile.free.value_or(profile.memory);
    const char* whose = free < budget ? ", the device has " : ", the plan's budget is ";
    budget = std::min(budget, free);
    if (const Bytes least = std::max(least_device_needs(model, plan), plan.used(kDevice)); least > budget)
        throw Error(ErrorCode::kShortfall, path,
                    "needs at least " + format_bytes(least) + " of VRAM" + whose + format_bytes(budget));
}

}  // namespace

PlannedRun plan_run(const RunOptions& options, const ModelDescription& model, const Console& console) {
    PlannedRun run{options.compute, {}, {}};
    SessionOptions& session = run.session;
    session.adaptation = options.device.adaptation;
    if (options.plan_file) {
        Plan plan = read_plan(*options.plan_file, model);
        DeviceRequest request = options.device;
        request.stop = &stop_flag();
        if (!plan.uses_device()) {
            if (request.backend != BackendName::kAuto && request.backend != BackendName::kCpu)
                throw Error(ErrorCode::kUsage, "--backend",
                            "expected none beside a plan for the CPU alone, found " +
                                std::string(backend_text(request.backend)));
            if (request.index)
                throw Error(ErrorCode::kUsage, "--device", "expected none beside a plan for the CPU alone");
            request.backend = BackendName::kCpu;
        }
        run.device = choose_device(request, console);
        check_device(plan, *options.plan_file, run.device);
        check_budgets(plan, *options.plan_file, model, run.device);
        session.n_ctx = plan.sizes.n_ctx;
        session.n_batch = plan.sizes.n_batch;
        session.n_outputs = plan.sizes.n_outputs;
        if (session.kernels == &cpu::exact_kernels() &&
            (plan.sizes.kv.k != DType::kF32 || plan.sizes.kv.v != DType::kF32))
            throw Error(ErrorCode::kUsage, "--exact", "expected a plan with a KV cache in f32 beside it");
        session.kv = plan.sizes.kv;
        run.plan = std::move(plan);
        return run;
    }
    const std::uint32_t n_ctx_train = model.hyper.n_ctx_train > 0 ? model.hyper.n_ctx_train : kDefaultContext;
    session.n_ctx = options.n_ctx > 0 ? options.n_ctx : std::min(n_ctx_train, kDefaultContext);
    session.n_batch = std::min(session.n_batch, session.n_ctx);
    DeviceRequest request = options.device;
    request.stop = &stop_flag();
    const auto routing = routing_of(options.use, model.hyper);  // what is wrong with it is said before the device is
    run.device = choose_device(request, console);
    run.plan = planning_for(run.device);
    if (auto* planning = std::get_if<Planning>(&run.plan)) planning->request.routing = routing;
    if (!run.device.open && run.device.ram_budget) check_ram(model, session, *run.device.ram_budget);
    return run;
}

}  // namespace lfm::tools
