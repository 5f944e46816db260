#include "runtime/placed_session.h"

#include "memory/error.h"
#include "planner/placement.h"

namespace lfm {
namespace {

/// Plans for less memory that are tried when the device gives less than it said.
constexpr int kSmallerPlans = 3;
/// Of what the last plan wanted.
constexpr double kSmaller = 0.9;

SessionSizes sizes_of(const SessionOptions& options) {
    return {options.n_ctx, options.n_batch, options.n_outputs, options.kv};
}

}  // namespace

Plan plan_or_throw(const ModelDescription& model, const MachineProfile& machine, const PlanRequest& request) {
    auto result = make_plan(model, machine, request);
    if (auto* plan = std::get_if<Plan>(&result)) return std::move(*plan);
    const auto& shortfall = std::get<Shortfall>(result);
    throw Error(ErrorCode::kShortfall, shortfall.device == kHost ? "--ram-budget" : "--vram-budget",
                "needs " + format_bytes(shortfall.needed) + ", there is " + format_bytes(shortfall.available) + ": " +
                    shortfall.reason);
}

PlacedSession::PlacedSession(const PlacedOptions& options, Ledger& ledger) {
    const auto note = [&](const std::string& text) {
        if (options.note) options.note(text);
    };
    std::optional<Plan> plan;
    std::optional<Planning> planning;
    if (const auto* given = std::get_if<Plan>(&options.plan)) plan = *given;
    if (const auto* made = std::get_if<Planning>(&options.plan)) {
        planning = *made;
        planning->request.sizes = sizes_of(options.session);
        plan = plan_or_throw(options.model, planning->machine, planning->request);
    }
    for (int attempt = 0; plan && plan->uses_device() && options.open && attempt <= kSmallerPlans; ++attempt) {
        try {
            place(*plan, options, ledger);
            return;
        } catch (const Error& error) {
            session_.reset();
            model_.reset();
            device_.reset();
            if (error.code() == ErrorCode::kDeviceLost) {
                note("the device failed while loading (" + std::string(error.what()) + ")");
                break;
            }
            if (error.code() != ErrorCode::kShortfall) throw;
            note("the device refused memory (" + std::string(error.what()) + ")");
        }
        if (!planning || attempt == kSmallerPlans) break;
        const auto smaller = static_cast<std::uint64_t>(static_cast<double>(plan->used(kDevice).value) * kSmaller);
        planning->request.vram_budget = Bytes{smaller};
        const auto result = make_plan(options.model, planning->machine, planning->request);
        if (!std::holds_alternative<Plan>(result)) break;
        plan = std::get<Plan>(result);
        note("planned again for " + format_bytes(plan->vram_budget) +
             " on the device: " + std::to_string(plan->n_experts_on(kDevice)) + " experts there");
    }
    if (plan && plan->uses_device()) note("everything in RAM, the CPU alone computes");
    const bool on_host = plan && !plan->uses_device();
    place(on_host ? *plan : make_host_plan(options.model, sizes_of(options.session)), options, ledger);
}

void PlacedSession::place(const Plan& plan, const PlacedOptions& options, Ledger& ledger) {
    SessionOptions session = options.session;
    if (plan.uses_device()) {
        device_ = options.open({.budget = plan.vram_budget, .limits = {session.n_batch, session.n_ctx}});
        if (const auto* planning = std::get_if<Planning>(&options.plan)) {
            const MachineRates rates = rates_of(planning->machine, planning->request.device, FigureEnd::kMid);
            session.expert_times = expert_times(options.model, rates);
        }
    }
    model_.emplace(options.load(plan, {device_.get(), options.progress, session.n_threads}));
    session_.emplace(*model_, session, ledger);
}

}  // namespace lfm
