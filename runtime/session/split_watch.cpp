#include "runtime/session/split_watch.h"

#include <cmath>

namespace lfm {

std::optional<BetterSplit> SplitWatch::look(const Placed& placed, const PlaceRequest& request) {
    const auto* planning = std::get_if<Planning>(&request.plan);
    const Session& session = placed.session();
    if (planning == nullptr || placed.device() == nullptr || session.loss()) return std::nullopt;
    const std::uint64_t n_decoded = session.engine().totals().n_decoded;
    const auto& learnt = session.engine().learnt();
    if (!learnt || !learnt->host_factor || n_decoded < n_seen_ + CostLearner::kLearnedSteps) return std::nullopt;
    n_seen_ = n_decoded;
    if (std::abs(*learnt->host_factor - 1) < CostLearner::kLeastDifference) return std::nullopt;

    Planning shown = *planning;
    shown.machine = with_slower_host(planning->machine, *learnt->host_factor);
    shown.request.sizes = request.session.sizes();
    auto better = find_resplit(request.model, shown.machine, shown.request, placed.plan(), session.position());
    if (!better || !better->repays_within(n_decoded)) return std::nullopt;
    n_seen_ = 0;  // of the session to come
    return BetterSplit{std::move(*better), std::move(shown)};
}

}  // namespace lfm
