#include "runtime/experts/routing_trace.h"

#include <algorithm>
#include <charconv>

#include "memory/error.h"
#include "memory/split_mix.h"
#include "planner/model/routing.h"

namespace lfm {
namespace {

/// In [0, 1).
double next_share(std::uint64_t& state) { return static_cast<double>(split_mix(state) >> 11) * 0x1p-53; }

std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
    std::uint64_t state = a ^ (b * 0xd1342543de82ef95);
    return split_mix(state);
}

template <typename Number>
Number parse_number(std::string_view text, std::string_view option, const char* what, Number least, Number most) {
    Number number{};
    const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (status != std::errc{} || end != text.data() + text.size() || !(number >= least && number <= most)) {
        const std::string found = text.empty() ? "nothing" : std::string(text.substr(0, 40));
        throw Error(ErrorCode::kUsage, option, std::string("expected ") + what + ", found " + found);
    }
    return number;
}

}  // namespace

RoutingTraceSpec parse_routing_trace_spec(std::string_view text, std::string_view option) {
    const auto fail = [&](const std::string& found) {
        throw Error(ErrorCode::kUsage, option,
                    "expected uniform or zipf:SKEW, then ,reuse:SHARE and ,seed:NUMBER if wanted, or a file's name; "
                    "found " +
                        found);
    };
    if (text.empty()) fail("nothing");
    const std::string_view first = text.substr(0, text.find_first_of(":,"));
    if (first != "uniform" && first != "zipf") return std::string(text);
    SyntheticRouting synthetic;
    std::vector<std::string_view> seen;
    std::string_view rest = text;
    for (;;) {
        const std::string_view part = rest.substr(0, rest.find(','));
        const std::string_view name = part.substr(0, part.find(':'));
        const bool has_value = name.size() < part.size();
        const std::string_view value = has_value ? part.substr(name.size() + 1) : std::string_view();
        const bool known =
            seen.empty() ? has_value == (name == "zipf") : has_value && (name == "reuse" || name == "seed");
        if (!known || std::ranges::find(seen, name) != seen.end()) fail(std::string(part.substr(0, 40)));
        if (name == "zipf") synthetic.skew = parse_number(value, option, "a skew of 0 to 10", 0.0, 10.0);
        if (name == "reuse") synthetic.reuse = parse_number(value, option, "a reuse of 0 to 0.999", 0.0, 0.999);
        if (name == "seed")
            synthetic.seed = parse_number(value, option, "a whole number as seed", std::uint64_t{0}, ~std::uint64_t{0});
        seen.push_back(name);
        if (part.size() == rest.size()) break;
        rest.remove_prefix(part.size() + 1);
    }
    return synthetic;
}

RoutingTrace::RoutingTrace(const HyperParameters& hyper, const SyntheticRouting& synthetic)
    : shape_(make_recorded_routing(hyper)), synthetic_(synthetic) {
    const Routing routing = skewed_routing(hyper, synthetic.skew, synthetic.reuse);
    stretches_.resize(shape_.n_moe_layer());
    for (std::uint32_t layer = 0; layer < stretches_.size(); ++layer) {
        stretches_[layer].use = routing.use[hyper.n_layer_dense + layer];
        // As in planner's HitTable: an expert that is always (never) used would leave nothing to divide by.
        for (double& use : stretches_[layer].use) use = std::clamp(use, 1e-9, 1 - 1e-9);
        stretches_[layer].choices.resize(std::size_t{kStretch} * shape_.n_expert_used);
    }
    taken_.resize(shape_.n_expert);
    tail_.resize((std::size_t{shape_.n_expert} + 1) * (shape_.n_expert_used + 1));
}

RoutingTrace::RoutingTrace(RecordedRouting recorded) : shape_(std::move(recorded)) {
    if (shape_.choices_per_token() == 0 || shape_.n_tokens() == 0)
        throw Error(ErrorCode::kInvalidInput, "recorded routing", "expected at least one token, found none");
}

RoutingTrace RoutingTrace::open(const RoutingTraceSpec& spec, const HyperParameters& hyper) {
    if (const auto* synthetic = std::get_if<SyntheticRouting>(&spec)) return RoutingTrace(hyper, *synthetic);
    return RoutingTrace(read_routing_trace(std::get<std::string>(spec), hyper));
}

std::span<const std::uint16_t> RoutingTrace::experts(std::uint32_t moe_layer, std::uint32_t position) {
    const std::size_t k = shape_.n_expert_used;
    if (stretches_.empty()) {
        const std::size_t token = position % shape_.n_tokens();
        return {&shape_.choices[(token * shape_.n_moe_layer() + moe_layer) * k], k};
    }
    Stretch& stretch = stretches_[moe_layer];
    if (stretch.number != position / kStretch) begin(stretch, moe_layer, position / kStretch);
    const std::uint32_t token = position % kStretch;
    while (stretch.n_made <= token) make_next(stretch);
    return {&stretch.choices[token * k], k};
}

void RoutingTrace::begin(Stretch& stretch, std::uint32_t moe_layer, std::uint64_t number) const {
    stretch.number = number;
    stretch.n_made = 0;
    stretch.random = mixed(mixed(synthetic_.seed, moe_layer), number);
}

void RoutingTrace::make_next(Stretch& stretch) {
    const std::size_t k = shape_.n_expert_used;
    const std::span<std::uint16_t> token(&stretch.choices[stretch.n_made * k], k);
    std::ranges::fill(taken_, 0);
    // The kept ones first; their order has no meaning.
    std::size_t n_kept = 0;
    if (stretch.n_made > 0) {
        for (const std::uint16_t expert : std::span<const std::uint16_t>(token.data() - k, k)) {
            if (next_share(stretch.random) >= synthetic_.reuse) continue;
            token[n_kept++] = expert;
            taken_[expert] = 1;
        }
    }
    choose(stretch, token.subspan(n_kept));
    ++stretch.n_made;
}

/// Fills `free` with experts that are not taken: independent choices with the chances `use`, on condition that there
/// are as many. That is the distribution of planner's HitTable, and keeping some of a token's experts leaves it as it
/// is: the next token is distributed like the one before.
void RoutingTrace::choose(Stretch& stretch, std::span<std::uint16_t> free) {
    const std::size_t n_expert = shape_.n_expert, n = free.size(), width = n + 1;
    // tail_[e][j]: the chance that j of the experts from e on are chosen.
    std::fill_n(tail_.begin() + static_cast<std::ptrdiff_t>(n_expert * width), width, 0.0);
    tail_[n_expert * width] = 1;
    std::size_t n_left = 0;
    for (std::size_t e = n_expert; e-- > 0;) {
        const double use = taken_[e] ? 0 : stretch.use[e];
        n_left += !taken_[e];
        for (std::size_t j = 0; j < width; ++j)
            tail_[e * width + j] =
                tail_[(e + 1) * width + j] * (1 - use) + (j > 0 ? tail_[(e + 1) * width + j - 1] * use : 0.0);
    }
    std::size_t n_chosen = 0;
    for (std::size_t e = 0; e < n_expert && n_chosen < n; ++e) {
        if (taken_[e]) continue;
        const std::size_t needed = n - n_chosen;
        const double chosen = stretch.use[e] * tail_[(e + 1) * width + needed - 1];
        // Where the chances are too small for a double, there are still as many choices as asked for.
        const bool all_left = n_left == needed;
        --n_left;
        if (all_left || next_share(stretch.random) * tail_[e * width + needed] < chosen)
            free[n_chosen++] = static_cast<std::uint16_t>(e);
    }
}

}  // namespace lfm
