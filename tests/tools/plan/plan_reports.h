// Plans of real shapes and stored profiles, as reports show them.
#pragma once

#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "planner/machine/machine_json.h"
#include "planner/model/shape.h"
#include "planner/plan/make_plan.h"
#include "tools/plan/report.h"

namespace lfm::test {

struct PlanCase {
    std::string shape;
    std::vector<std::string> profiles;  // below profiles/, without ".json"
    std::optional<Bytes> vram_budget;
    double skew = 0;
};

inline MachineProfile stored_machine(const std::vector<std::string>& names) {
    std::vector<MachinePart> parts;
    for (const std::string& name : names) {
        const std::string path = std::string(LFM_SOURCE_DIR) + "/profiles/" + name + ".json";
        std::ifstream file(path);
        parts.push_back(parse_machine_part(std::string(std::istreambuf_iterator(file), {}), path));
    }
    return merge_parts(parts, nullptr);
}

/// A plan with everything that its report shows.
class ReportedPlan {
public:
    explicit ReportedPlan(const PlanCase& wanted) : name_(wanted.shape) {
        const ModelDescription model = describe_shape(wanted.shape);
        const MachineProfile machine = stored_machine(wanted.profiles);
        PlanRequest request;
        request.sizes.n_ctx = 8192;
        request.vram_budget = wanted.vram_budget;
        if (wanted.skew > 0) request.routing = skewed_routing(model.hyper, wanted.skew, 0.3);
        plan_ = std::get<Plan>(make_plan(model, machine, request));
        if (!machine.devices.empty()) add_budgets(model, machine, request);
        for (std::uint32_t n_ctx = 2048; n_ctx <= 131072; n_ctx *= 4) {
            request.sizes.n_ctx = n_ctx;
            contexts_.push_back(point(n_ctx, make_plan(model, machine, request)));
        }
    }

    Plan& plan() { return plan_; }
    tools::PlanReport report() const {
        return {plan_,    name_,    "lfm-plan --shape " + name_ + " -o html", "lfm-bench --shape " + name_,
                budgets_, contexts_};
    }

private:
    static tools::SweepPoint point(std::uint64_t x, const std::variant<Plan, Shortfall>& result) {
        const Plan* plan = std::get_if<Plan>(&result);
        if (plan == nullptr) return {x, std::nullopt, std::nullopt};
        return {x, plan->decode, plan->prefill};
    }

    void add_budgets(const ModelDescription& model, const MachineProfile& machine, const PlanRequest& request) {
        std::vector<Bytes> budgets{{0}, {std::uint64_t{200} << 20}};  // the second: too little to use the device
        for (std::uint64_t i = 1; i <= 16; ++i) budgets.push_back({machine.devices[0].memory.value / 16 * i});
        const auto plans = make_plans(model, machine, request, budgets);
        for (std::size_t i = 0; i < budgets.size(); ++i) budgets_.push_back(point(budgets[i].value, plans[i]));
    }

    std::string name_;
    Plan plan_;
    std::vector<tools::SweepPoint> budgets_, contexts_;
};

inline constexpr Bytes gibibytes(double n) { return {static_cast<std::uint64_t>(n * 1073741824.0)}; }

/// Experts on both sides, scattered; some with slots.
inline PlanCase partly_on_device() {
    return {"lfm2-24b-a2b:Q4_K_M", {"gpu/rtx-4060-ti-16gb", "host/ddr5-5600"}, gibibytes(8), 0.8};
}
inline PlanCase small_share_on_device() {
    return {"lfm2-24b-a2b:Q8_0", {"gpu/rtx-4060-8gb", "host/ddr4-3200"}, gibibytes(6), 0};
}
inline PlanCase dense() { return {"lfm2.5-1.2b:Q8_0", {"gpu/rtx-4060-ti-16gb", "host/ddr5-5600"}, gibibytes(1.2), 0}; }
inline PlanCase without_device() { return {"lfm2-8b-a1b:Q4_0", {"host/ddr5-5600"}, std::nullopt, 0}; }

}  // namespace lfm::test
