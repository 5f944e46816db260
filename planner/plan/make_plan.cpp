#include "planner/plan/make_plan.h"

#include <algorithm>
#include <memory>

#include "memory/error.h"
#include "planner/cost/device_needs.h"
#include "planner/cost/prefill_cost.h"
#include "planner/plan/placement_search.h"
#include "planner/plan/plan_reasons.h"

namespace lfm {
namespace {

/// What the search works within.
struct Limits {
    bool device = false;  // one is there and may be used
    bool shared = false;  // its memory is the host's
    Bytes vram, ram;      // budgets
    DeviceOverhead overhead;
    std::vector<std::string> remarks;

    Bytes placeable() const { return {vram.value - std::min(vram.value, overhead.total().value)}; }
};

/// Two rounds of a token's experts: one is computed while the next arrives.
std::uint32_t n_staged(const ModelDescription& model) { return 2 * model.hyper.n_expert_used; }

void set_vram(Limits& limits, const DeviceProfile& device, std::optional<Bytes> asked) {
    const Bytes available = device.free.value_or(device.memory);
    limits.vram = asked.value_or(available);
    if (limits.vram > available) {
        limits.remarks.push_back("VRAM budget " + format_bytes(limits.vram) + " is more than the " +
                                 format_bytes(available) + (device.free ? " that are free" : " of the device") +
                                 ": reduced to that");
        limits.vram = available;
    }
    if (!device.free && limits.vram == available && limits.vram.value > 0)
        limits.remarks.push_back("how much VRAM other programs take is not known: a screen takes some 0.5 GiB");
}

Limits find_limits(const ModelDescription& model, const Inventory& inventory, const MachineProfile& machine,
                   const PlanRequest& request) {
    Limits limits;
    limits.ram = request.ram_budget.value_or(Bytes{machine.host.memory.value / 10 * 9});
    if (!request.ram_budget)
        limits.remarks.push_back("RAM budget: nine tenths of " + format_bytes(machine.host.memory));
    if (request.ram_budget && *request.ram_budget > machine.host.memory) {
        limits.remarks.push_back("RAM budget " + format_bytes(*request.ram_budget) + " is more than the " +
                                 format_bytes(machine.host.memory) + " installed: reduced to that");
        limits.ram = machine.host.memory;
    }
    if (machine.devices.size() > 1)
        limits.remarks.push_back("of " + std::to_string(machine.devices.size()) + " devices one is used: " +
                                 machine.devices[std::min(request.device, machine.devices.size() - 1)].name);
    if (request.device >= machine.devices.size()) return limits;
    const DeviceProfile& device = machine.devices[request.device];
    set_vram(limits, device, request.vram_budget);
    limits.device = limits.vram.value > 0;
    limits.shared = device.memory_kind == DeviceMemory::kSharedWithHost;
    // The most that any placement takes; the plan's own figures come with its placement.
    const DeviceNeeds needs(model, request.sizes, device.backend);
    limits.overhead = {device.context, inventory.device_activations, inventory.bridge, needs.most_scratch(),
                       needs.most_staging(limits.shared ? 0 : n_staged(model))};
    return limits;
}

/// The least that makes using the device worth anything: its overhead and one layer.
Bytes least_vram(const Limits& limits, const Inventory& inventory) {
    Bytes smallest{~std::uint64_t{0}};
    for (const LayerInventory& layer : inventory.layers) smallest = std::min(smallest, layer.home());
    return limits.overhead.total() + smallest;
}

Bytes host_overhead(const Inventory& inventory) {
    return inventory.activations + inventory.scratch + inventory.vectors;
}

class Planner {
public:
    Planner(const ModelDescription& model, const MachineProfile& machine, const PlanRequest& request, Bytes most)
        : model_(model),
          machine_(machine),
          request_(request),
          inventory_(take_inventory(model, request.sizes)),
          routing_(request.routing ? *request.routing : uniform_routing(model.hyper)),
          depth_(request.depth.value_or(request.sizes.n_ctx / 2)) {
        if (model.hyper.n_expert_used > kMostExpertsUsed)
            throw Error(ErrorCode::kUnsupportedModel, "n_expert_used",
                        "expected at most " + std::to_string(kMostExpertsUsed) + " to plan for, found " +
                            std::to_string(model.hyper.n_expert_used));
        PlanRequest largest = request;
        largest.vram_budget = most;
        const Limits limits = find_limits(model, inventory_, machine, largest);
        if (limits.device) device_ = request.device;
        cost_ = std::make_unique<DecodeCost>(cost_at(FigureEnd::kMid));
        if (limits.device) search_ = std::make_unique<PlacementSearch>(inventory_, *cost_, limits.placeable());
    }

    std::variant<Plan, Shortfall> plan(std::optional<Bytes> vram_budget) const {
        PlanRequest request = request_;
        request.vram_budget = vram_budget;
        const Limits limits = find_limits(model_, inventory_, machine_, request);
        if (limits.device && limits.vram < least_vram(limits, inventory_))
            return Shortfall{kDevice, least_vram(limits, inventory_), limits.vram,
                             machine_.devices[*device_].name +
                                 ": driver context, working memory and the smallest layer do not fit; 0 uses the "
                                 "CPU alone"};
        Limits taken = limits;
        const auto placement = place(taken);
        if (!placement) return ram_shortfall(limits);
        Plan plan = describe(*placement, taken);
        add_alternatives(plan, limits);
        return plan;
    }

private:
    DecodeCost cost_at(FigureEnd end) const {
        return {model_, rates_of(machine_, device_, end), routing_, request_.sizes.kv, depth_};
    }

    /// RAM that is taken whatever lies where.
    Bytes ram_overhead(const Limits& limits) const {
        return host_overhead(inventory_) + (limits.shared && limits.device ? limits.overhead.total() : Bytes{});
    }

    /// RAM that weights, KV cache and conv state may take.
    Bytes placeable_ram(const Limits& limits) const {
        return {limits.ram.value - std::min(limits.ram.value, ram_overhead(limits).value)};
    }

    /// Drops the staging from `limits` when the placement needs none.
    std::optional<Placement> place(Limits& limits) const {
        if (limits.ram < ram_overhead(limits)) return std::nullopt;
        Bytes host = placeable_ram(limits);
        const Placement on_host = host_placement(inventory_.layers.size());
        if (limits.shared) {  // moving frees nothing
            if (host_bytes(inventory_, on_host) > host) return std::nullopt;
            host = host_bytes(inventory_, on_host);
        }
        std::optional<Placement> best;
        double shortest = 0;
        const auto consider = [&](std::optional<Placement> candidate) {
            if (!candidate) return false;
            const double seconds = step_time(*cost_, *candidate).total();
            if (best && seconds >= shortest) return false;
            best = std::move(candidate);
            shortest = seconds;
            return true;
        };
        if (host_bytes(inventory_, on_host) <= host) consider(on_host);
        if (!limits.device) return best;
        consider(search_->best(limits.placeable(), host));
        // What others offer, to the byte: the search rounds sizes up. Whole layers need no staging.
        if (auto split = best_whole_expert_layers(inventory_, *cost_, limits.placeable(), host))
            consider(std::move(split->placement));
        const Bytes without_staging = limits.placeable() + limits.overhead.staging;
        auto whole = best_whole_layers(inventory_, *cost_, without_staging, host);
        if (whole && consider(std::move(whole->placement))) limits.overhead.staging = {};
        return best;
    }

    Shortfall ram_shortfall(const Limits& limits) const {
        Placement placement = host_placement(inventory_.layers.size());
        const bool moves = limits.device && !limits.shared;
        if (moves) placement = search_->fullest(limits.placeable());
        return {kHost, host_bytes(inventory_, placement) + ram_overhead(limits), limits.ram,
                std::string(moves ? "what the VRAM budget leaves to RAM does not fit there"
                                  : "the model, its context and working memory do not fit in RAM") +
                    "; the largest part of all is " +
                    (inventory_.kv() > inventory_.weights() ? "the KV cache, " + format_bytes(inventory_.kv())
                                                            : "the weights, " + format_bytes(inventory_.weights()))};
    }

    Plan describe(const Placement& placement, const Limits& limits) const {
        Plan plan = make_host_plan(model_, request_.sizes);
        plan.remarks = limits.remarks;
        if (auto remark = context_remark(model_.hyper, request_.sizes.n_ctx))
            plan.remarks.push_back(*std::move(remark));
        plan.machine = {.name = machine_.name, .measured_at = machine_.measured_at, .identity = identity_of(machine_)};
        plan.vram_budget = limits.device ? limits.vram : Bytes{};
        plan.ram_budget = limits.ram;
        plan.routing = routing_.basis;
        plan.depth = depth_;
        if (device_) {
            plan.machine.device_name = machine_.devices[*device_].name;
            plan.machine.device_backend = machine_.devices[*device_].backend;
            plan.machine.device_memory = machine_.devices[*device_].memory;
        }
        const bool tied = !model_.output;
        plan.output = placement.output;
        // A row of the table is looked up where the table is; the first layer needs it.
        plan.embedding = tied && placement.output != kHost ? kDevice : kHost;
        for (std::uint32_t i = 0; i < placement.layers.size(); ++i) {
            plan.by_use[i] = by_frequency(routing_.use[i]);
            plan.layers[i] = placement.layers[i].home;
            plan.n_slots[i] = placement.layers[i].experts.n_slots;
            if (placement.layers[i].experts.n_resident == 0) continue;
            for (std::uint32_t r = 0; r < placement.layers[i].experts.n_resident; ++r)
                plan.experts[std::size_t{i} * model_.hyper.n_expert + plan.by_use[i][r]] = kDevice;
        }
        add_predictions(plan, placement);
        add_memory(plan, placement, limits);
        add_reasons(plan, placement, *cost_, inventory_);
        return plan;
    }

    /// What the device takes beside this placement; sets the plan's n_staged.
    DeviceOverhead exact_overhead(Plan& plan, const Placement& placement, const Limits& limits) const {
        const DeviceNeeds needs(model_, request_.sizes, machine_.devices[*device_].backend);
        DeviceOverhead exact = limits.overhead;
        exact.scratch = needs.scratch(placement);
        if (limits.overhead.staging.value > 0 && !limits.shared && has_experts_elsewhere(placement))
            plan.n_staged = n_staged(model_);
        exact.staging = needs.staging(placement, plan.n_streamed, plan.n_staged);
        return exact;
    }

    /// Whether a layer on the device lacks some of its experts there.
    bool has_experts_elsewhere(const Placement& placement) const {
        for (std::size_t i = 0; i < placement.layers.size(); ++i)
            if (placement.layers[i].home != kHost &&
                placement.layers[i].experts.n_resident < inventory_.layers[i].n_expert)
                return true;
        return false;
    }

    void add_memory(Plan& plan, const Placement& placement, const Limits& limits) const {
        std::uint64_t bytes[2][kMemoryUses] = {};
        const auto add = [&](DeviceId device, MemoryUse use, Bytes size) {
            bytes[device.value][static_cast<std::size_t>(use)] += size.value;
        };
        add(plan.embedding, MemoryUse::kEmbedding, inventory_.embedding);
        add(plan.output, MemoryUse::kOutput, inventory_.output);
        add(plan.output, MemoryUse::kOperators, inventory_.output_norm);
        bool device_used = plan.output != kHost;
        for (std::size_t i = 0; i < placement.layers.size(); ++i) {
            const LayerPlacement& place = placement.layers[i];
            const LayerInventory& layer = inventory_.layers[i];
            device_used = device_used || place.home != kHost;
            add(place.home, MemoryUse::kOperators, layer.mixer);
            add(place.home, MemoryUse::kFfn, layer.ffn);
            add(place.home, MemoryUse::kKvCache, layer.kv);
            add(place.home, MemoryUse::kConvState, layer.conv_state);
            const std::uint64_t resident = place.experts.n_resident;
            add(kDevice, MemoryUse::kExperts, {resident * layer.expert.value});
            add(kHost, MemoryUse::kExperts, {(layer.n_expert - resident) * layer.expert.value});
            add(kDevice, MemoryUse::kExpertSlots, {place.experts.n_slots * layer.expert.value});
        }
        add(kHost, MemoryUse::kVectors, inventory_.vectors);
        add(kHost, MemoryUse::kActivations, inventory_.activations);
        add(kHost, MemoryUse::kScratch, inventory_.scratch);
        if (device_used) {
            const DeviceOverhead overhead = exact_overhead(plan, placement, limits);
            add(kDevice, MemoryUse::kActivations, overhead.activations);
            add(kDevice, MemoryUse::kScratch, overhead.scratch);
            add(kDevice, MemoryUse::kStaging, overhead.staging + overhead.bridge);
            add(kDevice, MemoryUse::kContext, overhead.context);
        }
        for (const DeviceId device : {kDevice, kHost})
            for (std::size_t use = 0; use < kMemoryUses; ++use)
                if (bytes[device.value][use] > 0)
                    plan.memory.push_back({device, static_cast<MemoryUse>(use), {bytes[device.value][use]}});
    }

    void add_predictions(Plan& plan, const Placement& placement) const {
        const std::uint32_t n_tokens = std::max(1u, std::min(request_.sizes.n_batch, request_.sizes.n_ctx));
        const auto decode = [&](FigureEnd c) { return 1 / step_time(cost_at(c), placement).total(); };
        const auto prefill = [&](FigureEnd c) {
            return prefill_time(model_, rates_of(machine_, device_, c), routing_, request_.sizes.kv, placement,
                                n_tokens);
        };
        const PrefillTime batch = prefill(FigureEnd::kMid);
        plan.n_streamed = batch.streamed;
        plan.decode_time = step_time(*cost_, placement);
        plan.decode = {decode(FigureEnd::kLow), 1 / plan.decode_time.total(), decode(FigureEnd::kHigh)};
        plan.prefill = {n_tokens / prefill(FigureEnd::kLow).seconds, n_tokens / batch.seconds,
                        n_tokens / prefill(FigureEnd::kHigh).seconds};
    }

    void add_alternatives(Plan& plan, const Limits& limits) const {
        const Bytes host = placeable_ram(limits);
        const Bytes unlimited{~std::uint64_t{0}};
        const auto add = [&](const std::string& name, const Placement& placement) {
            plan.alternatives.push_back({name, 1 / step_time(*cost_, placement).total()});
        };
        const Placement on_host = host_placement(inventory_.layers.size());
        if (host_bytes(inventory_, on_host) <= host) add("CPU alone", on_host);
        if (!limits.device) return;
        const std::string of = " of " + std::to_string(inventory_.layers.size());
        const Bytes ram = limits.shared ? unlimited : host;
        if (auto split = best_whole_layers(inventory_, *cost_, limits.placeable() + limits.overhead.staging, ram))
            add("whole layers, " + std::to_string(split->n_layer_on_device) + of, split->placement);
        if (model_.hyper.n_expert == 0) return;
        if (auto split = best_whole_expert_layers(inventory_, *cost_, limits.placeable(), ram))
            add("experts by whole layers, " + std::to_string(split->n_layer_on_device) + of, split->placement);
    }

    const ModelDescription& model_;
    const MachineProfile& machine_;
    const PlanRequest& request_;
    const Inventory inventory_;
    const Routing routing_;
    const std::uint32_t depth_;
    std::optional<std::size_t> device_;
    std::unique_ptr<DecodeCost> cost_;
    std::unique_ptr<PlacementSearch> search_;
};

}  // namespace

std::variant<Plan, Shortfall> make_plan(const ModelDescription& model, const MachineProfile& machine,
                                        const PlanRequest& request) {
    Bytes most = request.vram_budget.value_or(Bytes{~std::uint64_t{0}});
    return Planner(model, machine, request, most).plan(request.vram_budget);
}

std::vector<std::variant<Plan, Shortfall>> make_plans(const ModelDescription& model, const MachineProfile& machine,
                                                      const PlanRequest& request,
                                                      const std::vector<Bytes>& vram_budgets) {
    std::vector<std::variant<Plan, Shortfall>> plans;
    if (vram_budgets.empty()) return plans;
    const Planner planner(model, machine, request, std::ranges::max(vram_budgets));
    for (const Bytes budget : vram_budgets) plans.push_back(planner.plan(budget));
    return plans;
}

}  // namespace lfm
