#include "runtime/session/placed_session.h"

#include <cmath>

#include "backends/cpu/kernels/kernels.h"
#include "memory/error.h"
#include "planner/cost/placement.h"
#include "planner/plan/ram_needs.h"
#include "planner/plan/resplit.h"
#include "runtime/machine/host_memory.h"

namespace lfm {
namespace {

/// Plans for less memory that are tried when the device gives less than it said.
constexpr int kSmallerPlans = 3;
/// Of what the last plan wanted.
constexpr double kSmaller = 0.9;

/// Throws Error{kShortfall} when this process would need more of RAM than there is; notes when only pages of the file
/// would not stay.
void check_available(const PlacedOptions& options, const Plan& plan) {
    const RamNeeds needs = ram_needs(options.model, plan);
    const Bytes available = options.available.value_or(available_memory());
    if (available.value == 0) return;  // the system does not say
    Bytes own = needs.working(), own_weights, on_device;
    if (options.weights == WeightMemory::kOwnPages) own += own_weights = weight_bytes(options.model);
    if (options.weights == WeightMemory::kNone) {  // and nobody writes keys and values
        own -= needs.kv;
        own -= needs.conv_state;
    } else if (options.device_memory == DeviceMemory::kSharedWithHost) {
        for (const MemoryLine& line : plan.memory)
            if (line.device != kHost && line.use != MemoryUse::kContext) on_device += line.bytes;
        own += on_device;
    }
    if (own > available)
        throw Error(ErrorCode::kShortfall, "RAM",
                    "needs " + format_bytes(own) + " (" + largest_part(needs, own_weights) + ") for " +
                        std::to_string(plan.sizes.n_ctx) + " tokens of context, " + format_bytes(available) +
                        " is available");
    if (options.weights == WeightMemory::kFilePages && own + needs.weights > available && options.note)
        options.note("warning: weights of " + format_bytes(needs.weights) + " and " + format_bytes(own) +
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

/// The plan to obey; nothing: the host alone. With what it was made, when smaller ones may be made.
struct PlacedSession::Wanted {
    std::optional<Plan> plan;
    std::optional<Planning> planning;
    bool takes_over = false;  // the memory of the session before: what is available now is not asked again
};

PlacedSession::PlacedSession(const PlacedOptions& options, Ledger& ledger) {
    Wanted wanted;
    if (const auto* given = std::get_if<Plan>(&options.plan)) wanted.plan = *given;
    if (const auto* made = std::get_if<Planning>(&options.plan)) {
        wanted.planning = *made;
        wanted.planning->request.sizes = options.session.sizes();
        wanted.plan = plan_or_throw(options.model, made->machine, wanted.planning->request);
    }
    place_or_less(std::move(wanted), options, ledger);
}

void PlacedSession::place_or_less(Wanted wanted, const PlacedOptions& options, Ledger& ledger) {
    const auto note = [&](const std::string& text) {
        if (options.note) options.note(text);
    };
    std::optional<Plan>& plan = wanted.plan;
    std::optional<Planning>& planning = wanted.planning;
    const auto check = [&](const Plan& checked) {
        if (!wanted.takes_over) check_available(options, checked);
    };
    for (int attempt = 0; plan && plan->uses_device() && options.open && attempt <= kSmallerPlans; ++attempt) {
        check(*plan);
        try {
            place(*plan, wanted, options, ledger);
            return;
        } catch (const Error& error) {
            clear();
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
    const Plan host_plan = on_host ? *plan : make_host_plan(options.model, options.session.sizes());
    check(host_plan);
    place(host_plan, wanted, options, ledger);
}

void PlacedSession::place(const Plan& plan, const Wanted& wanted, const PlacedOptions& options, Ledger& ledger) {
    SessionOptions session = options.session;
    if (plan.uses_device()) {
        const bool exact = session.kernels == &cpu::exact_kernels();
        device_ = options.open({.budget = plan.vram_budget,
                                .limits = {session.n_batch, session.n_ctx},
                                .activations = exact ? ActivationKind::kFloat : ActivationKind::kQuantised});
        if (wanted.planning) {
            const Planning& planning = *wanted.planning;
            session.expert_times =
                expert_times(options.model, rates_of(planning.machine, planning.request.device, FigureEnd::kMid));
        }
    }
    model_.emplace(options.load(plan, {device_.get(), options.progress, session.n_threads}));
    session_.emplace(*model_, session, ledger);
}

void PlacedSession::clear() {
    session_.reset();
    model_.reset();
    device_.reset();
}

bool PlacedSession::resplit(const PlacedOptions& options, Ledger& ledger) {
    const auto* planning = std::get_if<Planning>(&options.plan);
    if (planning == nullptr || device_ == nullptr || session_->loss()) return false;
    const Engine& engine = session_->engine();
    const std::uint64_t n_decoded = engine.totals().n_decoded;
    const auto& learnt = engine.learnt();
    if (!learnt || !learnt->host_factor || n_decoded < considered_at_ + CostLearner::kLearnedSteps) return false;
    considered_at_ = n_decoded;
    if (std::abs(*learnt->host_factor - 1) < CostLearner::kLeastDifference) return false;

    Wanted wanted{.plan = std::nullopt, .planning = *planning};
    wanted.planning->machine = with_slower_host(planning->machine, *learnt->host_factor);
    wanted.planning->request.sizes = options.session.sizes();
    auto better =
        find_resplit(options.model, wanted.planning->machine, wanted.planning->request, plan(), session_->position());
    if (!better || !better->repays_within(n_decoded)) return false;
    if (options.note) {
        const auto speed = [](double seconds) { return std::to_string(std::lround(1 / seconds)); };
        options.note("another split repays: " + speed(better->then) + " instead of " + speed(better->now) +
                     " tokens a second predicted; moving to it");
    }
    wanted.plan = std::move(better->plan);
    move(std::move(wanted), options, ledger);
    return true;
}

void PlacedSession::move_to(const Plan& plan, const PlacedOptions& options, Ledger& ledger) {
    Wanted wanted{.plan = plan, .planning = std::nullopt};
    if (const auto* planning = std::get_if<Planning>(&options.plan)) {
        wanted.planning = *planning;
        wanted.planning->request.sizes = options.session.sizes();
    }
    move(std::move(wanted), options, ledger);
}

void PlacedSession::move(Wanted wanted, const PlacedOptions& options, Ledger& ledger) {
    SessionHistory history = session_->take_history();
    clear();
    wanted.takes_over = true;
    place_or_less(std::move(wanted), options, ledger);
    session_->continue_from(std::move(history));
    considered_at_ = 0;
}

}  // namespace lfm
