#include "tools/common/expected_use.h"

#include "tools/common/model_options.h"

namespace lfm::tools {

po::options_description expected_use_options() {
    po::options_description options("experts' use");
    const auto text = [] { return po::value<std::string>(); };
    options.add_options()("routing", text(), "recorded expert counts (JSON); default: uniform");
    options.add_options()("skew", text()->default_value("0"), "instead: expert r used like r^-SKEW");
    options.add_options()("locality", text()->default_value("0"), "share of choices that repeat");
    return options;
}

ExpectedUse expected_use(const po::variables_map& values) {
    ExpectedUse use;
    use.counts_file = find_text(values, "routing");
    use.skew = *find_number(values, "skew", {0, 10});
    use.locality = *find_number(values, "locality", {0, 0.999});
    for (const char* option : {"skew", "locality"}) {
        if (!is_given(values, option)) continue;
        use.is_given = true;
        if (use.counts_file)
            throw Error(ErrorCode::kUsage, std::string("--") + option, "expected none beside --routing, which counts");
    }
    use.is_given = use.is_given || use.counts_file;
    return use;
}

std::optional<Routing> routing_of(const ExpectedUse& use, const HyperParameters& hyper) {
    if (!use.is_given) return std::nullopt;
    const std::string counts = use.counts_file ? read_text(*use.counts_file) : std::string();
    if (hyper.n_expert == 0)
        throw Error(ErrorCode::kUsage,
                    use.counts_file ? "--routing"
                    : use.skew > 0  ? "--skew"
                                    : "--locality",
                    "expected a model with experts, found none");
    if (use.counts_file) return parse_routing(counts, *use.counts_file, hyper);
    if (use.skew == 0 && use.locality == 0) return std::nullopt;
    return skewed_routing(hyper, use.skew, use.locality);
}

}  // namespace lfm::tools
