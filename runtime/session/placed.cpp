#include "runtime/session/placed.h"

#include "backends/cpu/kernels/kernels.h"
#include "memory/error.h"
#include "planner/cost/placement.h"
#include "planner/plan/ram_needs.h"
#include "runtime/machine/host_memory.h"

namespace lfm {
namespace {

/// Plans for less memory that are tried when the device gives less than it said.
constexpr int kSmallerPlans = 3;
/// Of what the last plan wanted.
constexpr double kSmaller = 0.9;

/// Throws Error{kShortfall} when this process would need more of RAM than there is; notes when only pages of the file
/// would not stay.
void check_available(const PlaceRequest& request, const Plan& plan) {
    const RamNeeds needs = ram_needs(request.model, plan);
    const Bytes available = request.available.value_or(available_memory());
    if (available.value == 0) return;  // the system does not say
    Bytes own = needs.working(), own_weights, on_device;
    if (request.weights == WeightMemory::kOwnPages) own += own_weights = weight_bytes(request.model);
    if (request.weights == WeightMemory::kNone) {  // and nobody writes keys and values
        own -= needs.kv;
        own -= needs.conv_state;
    } else if (request.device_memory == DeviceMemory::kSharedWithHost) {
        for (const MemoryLine& line : plan.memory)
            if (line.device != kHost && line.use != MemoryUse::kContext) on_device += line.bytes;
        own += on_device;
    }
    if (own > available)
        throw Error(ErrorCode::kShortfall, "RAM",
                    "needs " + format_bytes(own) + " (" + largest_part(needs, own_weights) + ") for " +
                        std::to_string(plan.sizes.n_ctx) + " tokens of context, " + format_bytes(available) +
                        " is available");
    if (request.weights == WeightMemory::kFilePages && own + needs.weights > available && request.note)
        request.note("warning: weights of " + format_bytes(needs.weights) + " and " + format_bytes(own) +
                     " beside them do not fit into the " + format_bytes(available) +
                     " of RAM that is available: weights are read from the file again and again");
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

/// One placing: what is asked for, and what there is of it so far.
class Placer {
public:
    Placer(const PlaceRequest& request, Ledger& ledger, std::optional<Plan> plan)
        : request_(request), ledger_(ledger), plan_(std::move(plan)) {
        if (const auto* given = std::get_if<Planning>(&request.plan)) {
            planning_ = *given;
            planning_->request.sizes = request.session.sizes();
        }
    }

    /// Takes the memory of what was there before: what is available now is not asked again.
    void take_over() { takes_over_ = true; }

    Placed place_or_less();

private:
    void note(const std::string& text) const {
        if (request_.note) request_.note(text);
    }
    void check(const Plan& plan) const {
        if (!takes_over_) check_available(request_, plan);
    }
    std::optional<Placed> place_on_device();
    Placed place(const Plan& plan) const;
    bool plan_less();

    const PlaceRequest& request_;
    Ledger& ledger_;
    std::optional<Plan> plan_;          // to obey; nothing: the host alone
    std::optional<Planning> planning_;  // smaller plans may be made with it
    bool takes_over_ = false;
};

Placed Placer::place_or_less() {
    if (plan_ && plan_->uses_device()) {
        if (request_.open)
            if (auto placed = place_on_device()) return std::move(*placed);
        note("everything in RAM, the CPU alone computes");
        plan_.reset();
    }
    const Plan host_plan = plan_ ? *plan_ : make_host_plan(request_.model, request_.session.sizes());
    check(host_plan);
    return place(host_plan);
}

/// Nothing when the device gives too little, or was lost.
std::optional<Placed> Placer::place_on_device() {
    for (int attempt = 0; plan_->uses_device(); ++attempt) {
        check(*plan_);
        try {
            return place(*plan_);
        } catch (const Error& error) {
            if (error.code() == ErrorCode::kDeviceLost) {
                note("the device failed while loading (" + std::string(error.what()) + ")");
                return std::nullopt;
            }
            if (error.code() != ErrorCode::kShortfall) throw;
            note("the device refused memory (" + std::string(error.what()) + ")");
        }
        if (attempt == kSmallerPlans || !plan_less()) return std::nullopt;
    }
    return std::nullopt;
}

bool Placer::plan_less() {
    if (!planning_) return false;
    const auto smaller = static_cast<std::uint64_t>(static_cast<double>(plan_->used(kDevice).value) * kSmaller);
    planning_->request.vram_budget = Bytes{smaller};
    auto result = make_plan(request_.model, planning_->machine, planning_->request);
    if (!std::holds_alternative<Plan>(result)) return false;
    plan_ = std::get<Plan>(std::move(result));
    note("planned again for " + format_bytes(plan_->vram_budget) +
         " on the device: " + std::to_string(plan_->n_experts_on(kDevice)) + " experts there");
    return true;
}

Placed Placer::place(const Plan& plan) const {
    SessionOptions session = request_.session;
    Placed placed;
    Placed::Parts& parts = *placed.parts_;
    if (plan.uses_device()) {
        const bool exact = session.kernels == &cpu::exact_kernels();
        parts.device = request_.open({.budget = plan.vram_budget,
                                      .limits = session.limits(),
                                      .activations = exact ? ActivationKind::kFloat : ActivationKind::kQuantised});
        if (planning_)
            session.expert_times =
                expert_times(request_.model, rates_of(planning_->machine, planning_->request.device, FigureEnd::kMid));
    }
    parts.model.emplace(request_.load(plan, {parts.device.get(), request_.progress, session.n_threads}));
    parts.session.emplace(*parts.model, session, ledger_);
    return placed;
}

Placed place(const PlaceRequest& request, Ledger& ledger) {
    std::optional<Plan> plan;
    if (const auto* given = std::get_if<Plan>(&request.plan)) plan = *given;
    if (const auto* planning = std::get_if<Planning>(&request.plan)) {
        PlanRequest wanted = planning->request;
        wanted.sizes = request.session.sizes();
        plan = plan_or_throw(request.model, planning->machine, wanted);
    }
    return Placer(request, ledger, std::move(plan)).place_or_less();
}

Placed place_anew(Placed old, const Plan& plan, const PlaceRequest& request, Ledger& ledger) {
    SessionHistory history = old.session().take_history();
    { const Placed gone = std::move(old); }
    Placer placer(request, ledger, plan);
    placer.take_over();
    Placed placed = placer.place_or_less();
    placed.session().continue_from(std::move(history));
    return placed;
}

}  // namespace lfm
