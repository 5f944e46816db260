#include "backends/sim/idle_host.h"

#include <variant>
#include <vector>

namespace lfm::sim {
namespace {

class IdleHost final : public Backend {
public:
    std::string_view name() const override { return "idle"; }
    bool supports(DType) const override { return true; }
    ProgramId add_program(std::span<const Operation> operations, const StepParams& params) override {
        std::vector<RouteArgs>& routes = routes_.emplace_back();
        for (const Operation& operation : operations)
            if (const auto* route = std::get_if<RouteArgs>(&operation)) routes.push_back(*route);
        params_ = &params;
        return {static_cast<std::uint32_t>(routes_.size() - 1)};
    }
    void forget_program(ProgramId program) noexcept override { routes_[program.value].clear(); }
    void submit(ProgramId program) override {
        for (const RouteArgs& route : routes_[program.value]) {
            const std::size_t n = std::size_t{params_->n_tokens} * route.n_expert_used;
            for (std::size_t i = 0; i < n; ++i)
                route.out.ids[i] = params_->forced_experts != nullptr
                                       ? params_->forced_experts[route.moe_layer * n + i]
                                       : static_cast<std::int32_t>(i % route.n_expert_used);
        }
    }
    void wait() override {}

private:
    std::vector<std::vector<RouteArgs>> routes_;  // by program
    const StepParams* params_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> make_idle_host() { return std::make_unique<IdleHost>(); }

}  // namespace lfm::sim
