#include "backends/sim/sim_programs.h"

#include <algorithm>
#include <utility>

#include "backends/cpu/cpu_backend.h"
#include "backends/sim/launches.h"
#include "backends/sim/outputs.h"
#include "memory/error.h"

namespace lfm::sim {

SimPrograms::SimPrograms(const SimOptions& options, std::string where)
    : where_(std::move(where)),
      arithmetic_(options.arithmetic),
      rates_(options.rates),
      kernels_(options.kernels),
      limits_(options.limits),
      self_(options.id) {
    rebuild();
}

/// The scratch of what is recorded, and no more. The next begin_step fills the copies of step parameters.
void SimPrograms::rebuild() {
    std::vector<std::vector<Operation>> operations(programs_.size());
    for (std::size_t i = 0; i < programs_.size(); ++i) {
        for (const Recorded& recorded : programs_[i].operations) operations[i].push_back(recorded.operation);
        programs_[i].operations.clear();  // before the backend that they are recorded on
    }
    cpu_ =
        cpu::make_cpu_backend({.kernels = kernels_, .n_threads = 1, .limits = limits_, .self = self_}, scratch_ledger_);
    snapshots_.clear();
    tables_.clear();
    for (std::size_t i = 0; i < programs_.size(); ++i)
        if (programs_[i].source != nullptr) programs_[i] = made(operations[i], *programs_[i].source);
}

StepSnapshot& SimPrograms::snapshot_of(const StepParams& params) {
    const auto known = std::ranges::find(snapshots_, &params, &StepSnapshot::source);
    if (known != snapshots_.end()) return **known;
    return *snapshots_.emplace_back(std::make_unique<StepSnapshot>(params, limits_));
}

void SimPrograms::note_table(const Operation& operation) {
    const auto* experts = std::get_if<ExpertFfnArgs>(&operation);
    if (experts == nullptr) return;
    const ExpertTable& table = *experts->experts;
    if (std::ranges::find(tables_, &table, &SeenTable::table) == tables_.end())
        tables_.push_back({&table, table.version()});
    tokens_of_expert_.resize(std::max<std::size_t>(tokens_of_expert_.size(), table.n_expert()));
}

/// Each operation is a program of the CPU's, so that faults and times come between them.
SimPrograms::Program SimPrograms::made(std::span<const Operation> operations, const StepParams& params) {
    StepSnapshot& step = snapshot_of(params);
    step.reserve(operations, scratch_ledger_);
    Program program{{}, &params, &step};
    for (const Operation& operation : operations) {
        program.operations.push_back({operation, cpu_->record(std::span(&operation, 1), step.params())});
        note_table(operation);
        program.launches += launches_of(operation);
    }
    timed_.reserve(std::max(timed_.capacity(), program.operations.size()));
    return program;
}

ProgramId SimPrograms::record(std::span<const Operation> operations, const StepParams& params) {
    const auto place = std::ranges::find(programs_, nullptr, &Program::source);
    const auto id = static_cast<std::uint32_t>(place - programs_.begin());
    try {
        Program program = made(operations, params);
        if (id == programs_.size()) programs_.emplace_back();
        programs_[id] = std::move(program);
    } catch (...) {
        rebuild();
        throw;
    }
    return {id};
}

void SimPrograms::take_back(ProgramId program) {
    programs_[program.value] = {};
    rebuild();
}

void SimPrograms::forget(ProgramId program) {
    const StepParams* const source = std::exchange(programs_[program.value], {}).source;
    while (!programs_.empty() && programs_.back().source == nullptr) programs_.pop_back();
    if (programs_.empty()) return rebuild();
    if (std::ranges::find(programs_, source, &Program::source) == programs_.end())
        std::erase_if(snapshots_, [&](const auto& snapshot) { return snapshot->source() == source; });
    std::erase_if(tables_, [&](const SeenTable& seen) { return !names(seen.table); });
}

bool SimPrograms::names(const ExpertTable* table) const {
    return std::ranges::any_of(programs_, [&](const Program& program) {
        return std::ranges::any_of(program.operations, [&](const Recorded& recorded) {
            const auto* experts = std::get_if<ExpertFfnArgs>(&recorded.operation);
            return experts != nullptr && experts->experts == table;
        });
    });
}

std::uint32_t SimPrograms::launches(ProgramId program) const {
    const Program& known = programs_[program.value];
    return known.step->params().n_tokens > 1 ? known.launches : 0;
}

void SimPrograms::begin_step() {
    for (const auto& snapshot : snapshots_) snapshot->take(where_);
    for (SeenTable& seen : tables_) seen.version = seen.table->version();
}

/// Into tokens_of_expert_.
void SimPrograms::count_experts(const ExpertFfnArgs& args, const StepParams& step) {
    const ExpertTable& table = *args.experts;
    if (std::ranges::find(tables_, &table, &SeenTable::table)->version != table.version())
        throw Error(ErrorCode::kDeviceLost, where_,
                    "expected the expert table as begin_step took it over, found it changed within the step");
    const auto n_expert = static_cast<std::int32_t>(table.n_expert());
    std::fill_n(tokens_of_expert_.begin(), n_expert, 0u);
    for (std::size_t i = 0; i < std::size_t{step.n_tokens} * args.n_expert_used; ++i) {
        const std::int32_t id = args.choice.ids[i];
        if (id < 0 || id >= n_expert)
            throw Error(ErrorCode::kDeviceLost, where_,
                        "expected experts below " + std::to_string(n_expert) + " in layer " +
                            std::to_string(args.layer.value) + ", found " + std::to_string(id));
        ++tokens_of_expert_[static_cast<std::size_t>(id)];
    }
    for (std::int32_t id = 0; id < n_expert; ++id) {
        const bool staged = args.staged.slot_of != nullptr && args.staged.slot_of[id] >= 0;
        const bool held = !staged && table[{args.layer, static_cast<std::uint32_t>(id)}].holder == self_;
        if (!(args.set == ExpertSet::kStaged ? staged : held)) tokens_of_expert_[static_cast<std::size_t>(id)] = 0;
    }
}

std::span<const TimedOperation> SimPrograms::run(ProgramId id, std::uint64_t nan_in_operation) {
    const Program& program = programs_[id.value];
    const StepParams& step = program.step->params();
    timed_.clear();
    for (const Recorded& recorded : program.operations) {
        const Operation& operation = recorded.operation;
        const auto* experts = std::get_if<ExpertFfnArgs>(&operation);
        if (experts != nullptr) count_experts(*experts, step);
        const bool copies = std::holds_alternative<CopyArgs>(operation);
        if (arithmetic_ == Arithmetic::kRun || copies)
            cpu_->submit(recorded.on_cpu);
        else if (const auto* route = std::get_if<RouteArgs>(&operation))
            route_without_router(*route, step);
        if (!copies && ++n_operations_ == nan_in_operation && arithmetic_ == Arithmetic::kRun)
            write_nan(operation, step);
        timed_.push_back(
            {operation_name(operation),
             operation_seconds(
                 rates_, operation, step,
                 std::span(tokens_of_expert_).first(experts != nullptr ? experts->experts->n_expert() : 0))});
    }
    return timed_;
}

}  // namespace lfm::sim
