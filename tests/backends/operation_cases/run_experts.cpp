// Operations of a mixture-of-experts layer: route and expert_ffn.
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "tests/backends/operation_cases/run_case.h"

namespace lfm::operation_cases {
namespace {

constexpr double kNearby = 1e-5;  // scores this close may change places

std::vector<std::int32_t> distinct_ids(std::uint32_t n_expert, std::uint32_t k, Noise& noise) {
    std::vector<std::int32_t> ids;
    while (ids.size() < k) {
        const auto id = static_cast<std::int32_t>(noise.below(n_expert));
        if (std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
    }
    return ids;
}

bool are_distinct_experts(std::span<const std::int32_t> ids, std::uint32_t n_expert) {
    const std::set<std::int32_t> set(ids.begin(), ids.end());
    return set.size() == ids.size() && *set.begin() >= 0 && *set.rbegin() < static_cast<std::int32_t>(n_expert);
}

/// Of twins, the one with the lower index is chosen first.
bool twins_in_order(std::span<const std::int32_t> ids) {
    for (auto id = ids.begin(); id != ids.end(); ++id)
        if (*id % 2 == 1 && std::find(ids.begin(), id, *id - 1) == id) return false;
    return true;
}

/// One token's choice against the reference.
void check_choice(const RouteCase& each, std::span<const double> scores, std::span<const float> bias,
                  std::span<const std::int32_t> found) {
    const std::vector<std::int32_t> expected = reference::choose(scores, bias, each.n_expert_used);
    const auto ranking = [&](std::int32_t id) {
        const auto e = static_cast<std::size_t>(id);
        return scores[e] + (bias.empty() ? 0.0 : bias[e]);
    };
    for (std::size_t j = 0; j < found.size(); ++j)
        EXPECT_NEAR(ranking(found[j]), ranking(expected[j]), kNearby)
            << "choice " << j << ": expected expert " << expected[j] << ", found " << found[j];
    EXPECT_TRUE(each.routing != Routing::kTies || twins_in_order(found)) << testing::PrintToString(found);
}

/// The router's rows as blocks and as values, and x of a case.
struct Router {
    std::vector<std::byte> blocks;
    std::vector<double> values;
    std::vector<float> x;
};

Router make_router(Bed& bed, const RouteCase& each, Noise& noise) {
    const Matrix matrix = bed.weights().cut(each.type, std::size_t{each.n_expert} * each.n_embd, noise);
    Router router{.blocks = {matrix.blocks.begin(), matrix.blocks.end()},
                  .values = {matrix.values.begin(), matrix.values.end()},
                  .x = noise.activations(std::size_t{each.n_tokens} * each.n_embd,
                                         1.5f / std::sqrt(static_cast<float>(each.n_embd)))};
    if (each.routing == Routing::kTies) {
        const auto bytes = static_cast<std::ptrdiff_t>(row_bytes(each.type, each.n_embd)),
                   n = std::ptrdiff_t{each.n_embd};
        for (std::ptrdiff_t e = 1; e < each.n_expert; e += 2) {
            std::copy_n(router.blocks.begin() + (e - 1) * bytes, bytes, router.blocks.begin() + e * bytes);
            std::copy_n(router.values.begin() + (e - 1) * n, n, router.values.begin() + e * n);
        }
    }
    if (each.routing == Routing::kNaN)
        for (std::size_t t = 0; t < each.n_tokens; t += 3) router.x[t * each.n_embd + noise.below(each.n_embd)] = NAN;
    return router;
}

}  // namespace

void run_case(Bed& bed, const RouteCase& each, GroupTally&) {
    Noise noise(each.seed);
    const std::size_t k = each.n_expert_used, n_pairs = each.n_tokens * k;
    const Router router = make_router(bed, each, noise);
    const std::vector<float> bias = each.routing == Routing::kPlain || each.routing == Routing::kTies
                                        ? std::vector<float>()
                                        : noise.values(each.n_expert, 0.2f);
    const std::uint32_t moe_layer = each.routing == Routing::kForced ? each.seed % kMoeLayers : 0;
    std::vector<std::int32_t> forced;  // [kMoeLayers, n, k]
    if (each.routing == Routing::kForced) {
        for (std::size_t i = 0; i < kMoeLayers * each.n_tokens; ++i) {
            const std::vector<std::int32_t> ids = distinct_ids(each.n_expert, each.n_expert_used, noise);
            forced.insert(forced.end(), ids.begin(), ids.end());
        }
        bed.set_forced(forced);
    }
    const ExpertChoice out{bed.room<std::int32_t>(n_pairs), bed.room<float>(n_pairs)};
    bed.run({RouteArgs{
        .x = {bed.put(router.x), each.n_embd},
        .router = {bed.put(router.blocks), each.type, each.n_expert, each.n_embd, row_bytes(each.type, each.n_embd)},
        .bias = bias.empty() ? nullptr : bed.put(bias),
        .n_expert_used = each.n_expert_used,
        .scale = each.scale,
        .moe_layer = moe_layer,
        .out = out}});

    const std::vector<std::int32_t> ids = bed.get(out.ids, n_pairs);
    const std::vector<float> weights = bed.get(out.weights, n_pairs);
    const reference::Values scores = reference::router_scores(
        reference::matmul(reference::as_multiplied(router.x, each.type, bed.bars().activations), router.values,
                          each.n_embd)
            .values);
    Comparison comparison;
    for (std::size_t t = 0; t < each.n_tokens && !testing::Test::HasFailure(); ++t) {
        SCOPED_TRACE("token " + std::to_string(t));
        const auto token_ids = std::span(ids).subspan(t * k, k);
        ASSERT_TRUE(are_distinct_experts(token_ids, each.n_expert)) << testing::PrintToString(token_ids);
        const auto token_scores = std::span(scores).subspan(t * each.n_expert, each.n_expert);
        if (each.routing == Routing::kForced)
            EXPECT_TRUE(
                std::ranges::equal(token_ids, std::span(forced).subspan((moe_layer * each.n_tokens + t) * k, k)));
        else if (!std::isnan(token_scores[0]))
            check_choice(each, token_scores, bias, token_ids);
        if (!std::isnan(token_scores[0]))
            comparison.add(std::span(weights).subspan(t * k, k),
                           reference::route_weights(token_scores, token_ids, each.scale));
    }
    expect_within(comparison, bed.bars().softmax);
}

namespace {

enum class Home : std::uint8_t { kHere, kElsewhere, kStaged, kHereAndStaged };

Home choose_home(Holding holding, Noise& noise) {
    switch (holding) {
        case Holding::kHere: return Home::kHere;
        case Holding::kElsewhere: return Home::kElsewhere;
        case Holding::kHereAndElsewhere: return noise.below(3) > 0 ? Home::kHere : Home::kElsewhere;
        case Holding::kStaged: break;
    }
    return static_cast<Home>(noise.below(4));
}

constexpr std::size_t aligned(std::size_t size) { return (size + 15) / 16 * 16; }

/// The experts of one layer, placed as the case says, and the values of each set.
struct Experts {
    ExpertTable& table;
    StagedExperts staged;
    std::vector<reference::ExpertMatrices> held_values, staged_values;  // [n_expert], empty: not of the set
};

constexpr LayerId kLayer{1};

Experts make_experts(Bed& bed, const ExpertFfnCase& each, Noise& noise) {
    const std::size_t n_weights = std::size_t{each.n_ff} * each.n_embd;
    const std::size_t up_offset = aligned(row_bytes(each.types[0], n_weights));
    const std::size_t down_offset = up_offset + aligned(row_bytes(each.types[1], n_weights));
    const std::size_t slot_bytes = down_offset + aligned(row_bytes(each.types[2], n_weights));
    Experts experts{.table = bed.keep(ExpertTable(2, each.n_expert)),
                    .held_values = std::vector<reference::ExpertMatrices>(each.n_expert),
                    .staged_values = std::vector<reference::ExpertMatrices>(each.n_expert)};
    std::vector<std::byte> held, slots;
    std::vector<std::size_t> held_at(each.n_expert);
    std::vector<Home> homes;
    std::vector<std::int32_t> slot_of(each.n_expert, -1);
    const auto append = [&](std::vector<std::byte>& to, const std::array<Matrix, 3>& matrices) {
        const std::size_t begin = to.size();
        to.resize(begin + slot_bytes, std::byte{0xff});
        std::ranges::copy(matrices[0].blocks, &to[begin]);
        std::ranges::copy(matrices[1].blocks, &to[begin + up_offset]);
        std::ranges::copy(matrices[2].blocks, &to[begin + down_offset]);
        return begin;
    };
    for (std::uint32_t e = 0; e < each.n_expert; ++e) {
        homes.push_back(choose_home(each.holding, noise));
        std::array<Matrix, 3> matrices;
        for (std::size_t i = 0; i < 3; ++i) matrices[i] = bed.weights().cut(each.types[i], n_weights, noise);
        const bool is_staged = homes[e] == Home::kStaged || homes[e] == Home::kHereAndStaged;
        if (homes[e] != Home::kElsewhere)
            (is_staged ? experts.staged_values : experts.held_values)[e] = {matrices[0].values, matrices[1].values,
                                                                            matrices[2].values};
        if (homes[e] == Home::kHere || homes[e] == Home::kHereAndStaged) held_at[e] = append(held, matrices);
        if (is_staged) slot_of[e] = static_cast<std::int32_t>(append(slots, matrices) / slot_bytes);
    }
    const std::byte* held_there = bed.put(held);
    for (std::uint32_t e = 0; e < each.n_expert; ++e) {
        const std::byte* slot = held_there + held_at[e];
        const bool is_held = homes[e] == Home::kHere || homes[e] == Home::kHereAndStaged;
        const DeviceId elsewhere{static_cast<std::uint8_t>(bed.self().value + 1)};
        experts.table.set({kLayer, e}, is_held ? ExpertSlot{bed.self(), slot, slot + up_offset, slot + down_offset}
                                               : ExpertSlot{.holder = elsewhere});
    }
    if (each.holding == Holding::kStaged)
        experts.staged = {bed.put(slot_of), bed.put(slots), slot_bytes, up_offset, down_offset};
    return experts;
}

void check_experts(Bed& bed, const ExpertFfnCase& each, const reference::ExpertOperands& operands,
                   std::span<const float> found, GroupTally& tally) {
    const Comparison comparison = compare(found, reference::expert_ffn(operands, bed.bars().activations));
    const bool any_quantised = std::ranges::any_of(each.types, reference::meets_quantised);
    if (bed.bars().activations == reference::Activations::kQuantised && reference::meets_quantised(each.types[2])) {
        expect_nmse_within(comparison, bed.bars().requantised_case);
        tally.requantised.add(comparison);
    } else {
        double bar = 0;
        for (const DType type : each.types) bar = std::max(bar, bed.bars().matmul(type));
        expect_within(comparison, bar);
    }
    if (any_quantised)
        tally.chained_rounding.add(compare(found, reference::expert_ffn(operands, reference::Activations::kPlain)));
    // A token without an expert of the set gets zeros.
    for (std::size_t t = 0; t < each.n_tokens; ++t) {
        const auto ids = operands.ids.subspan(t * each.n_expert_used, each.n_expert_used);
        const bool has_any = std::ranges::any_of(
            ids, [&](std::int32_t id) { return !operands.experts[static_cast<std::size_t>(id)].down.empty(); });
        if (has_any) continue;
        const auto row = found.subspan(t * each.n_embd, each.n_embd);
        EXPECT_TRUE(std::ranges::all_of(row, [](float value) { return value == 0; })) << "token " << t;
    }
}

}  // namespace

void run_case(Bed& bed, const ExpertFfnCase& each, GroupTally& tally) {
    Noise noise(each.seed);
    const std::vector<float> x = noise.activations(std::size_t{each.n_tokens} * each.n_embd);
    const Experts experts = make_experts(bed, each, noise);
    std::vector<std::int32_t> ids;
    std::vector<float> weights;
    for (std::uint32_t t = 0; t < each.n_tokens; ++t) {
        for (const std::int32_t id : distinct_ids(each.n_expert, each.n_expert_used, noise)) ids.push_back(id);
        for (std::uint32_t j = 0; j < each.n_expert_used; ++j) weights.push_back(std::fabs(noise.value()) + 0.05f);
    }
    ExpertFfnArgs held{.x = {bed.put(x), each.n_embd},
                       .layer = kLayer,
                       .experts = &experts.table,
                       .staged = experts.staged,
                       .gate_type = each.types[0],
                       .up_type = each.types[1],
                       .down_type = each.types[2],
                       .n_ff = each.n_ff,
                       .n_expert_used = each.n_expert_used,
                       .choice = {bed.put(ids), bed.put(weights)},
                       .out = {bed.room<float>(x.size()), each.n_embd}};
    ExpertFfnArgs staged = held;
    staged.set = ExpertSet::kStaged;
    staged.out.data = bed.room<float>(x.size());
    if (each.holding == Holding::kStaged)
        bed.run({held, staged});
    else
        bed.run({held});

    reference::ExpertOperands operands{.x = x,
                                       .n_embd = each.n_embd,
                                       .n_ff = each.n_ff,
                                       .n_expert_used = each.n_expert_used,
                                       .ids = ids,
                                       .weights = weights,
                                       .experts = experts.held_values,
                                       .gate_type = each.types[0],
                                       .up_type = each.types[1],
                                       .down_type = each.types[2]};
    {
        SCOPED_TRACE("the held experts");
        check_experts(bed, each, operands, bed.get(held.out.data, x.size()), tally);
    }
    if (each.holding == Holding::kStaged) {
        SCOPED_TRACE("the staged experts");
        operands.experts = experts.staged_values;
        check_experts(bed, each, operands, bed.get(staged.out.data, x.size()), tally);
    }
}

}  // namespace lfm::operation_cases
