#include "tests/backends/operation_cases/run_case.h"

#include <algorithm>
#include <iostream>

#include <gtest/gtest.h>

namespace lfm::operation_cases {
namespace {

template <typename Case>
std::vector<Case> runnable(std::vector<Case> cases, const Backend& backend) {
    std::erase_if(cases, [&backend](const Case& each) {
        return !std::ranges::all_of(weight_types(each), [&backend](DType type) { return backend.supports(type); });
    });
    return cases;
}

template <typename Case>
std::vector<Case> part_of(const std::vector<Case>& cases, const Part& part) {
    std::vector<Case> kept;
    for (std::size_t i = part.first; i < cases.size() && kept.size() < part.most; i += part.every)
        kept.push_back(cases[i]);
    return kept;
}

int n_failures() { return testing::UnitTest::GetInstance()->current_test_info()->result()->total_part_count(); }

void report(const Mean& mean, double bar, const char* what) {
    if (mean.is_empty()) return;
    std::cout << "; mean NMSE " << what << ' ' << mean.value();
    EXPECT_LE(mean.value(), bar) << what;
}

template <typename Case>
void run_cases(Bed& bed, const std::vector<Case>& cases) {
    constexpr int kMostFailed = 5;
    GroupTally tally;
    std::size_t n_run = 0;
    int n_failed = 0;
    for (const Case& each : cases) {
        SCOPED_TRACE(name(each));
        const int before = n_failures();
        bed.start_case(each.n_tokens);
        run_case(bed, each, tally);
        EXPECT_EQ(bed.n_damaged(), 0u) << "writes beyond the ends of operands";
        ++n_run;
        if (n_failures() > before && ++n_failed == kMostFailed) break;
    }
    std::cout << n_run << " cases";
    if (n_run < cases.size()) std::cout << " of " << cases.size() << ": too many failed";
    report(tally.rounding, bed.bars().rounding_group, "against plain activations");
    report(tally.chained_rounding, bed.bars().chained_rounding_group, "against plain activations");
    report(tally.requantised, bed.bars().requantised_group, "where results are quantised again");
    std::cout << '\n';
}

/// `table` makes the cases when they are needed.
template <typename Table>
Group group(std::string name, Table table) {
    return {.name = std::move(name),
            .n_cases = [table](const Backend& backend) { return runnable(table(), backend).size(); },
            .run_part = [table](Bed& bed, const Backend& backend,
                                const Part& part) { run_cases(bed, part_of(runnable(table(), backend), part)); }};
}

}  // namespace

std::vector<Group> groups() {
    std::vector<Group> all{group("embed", embed_cases), group("rms_norm", rms_norm_cases)};
    for (const DTypeInfo& info : all_dtypes())
        all.push_back(group("matmul_" + std::string(info.name), [type = info.type] { return matmul_cases(type); }));
    all.push_back(group("qk_norm_rope", qk_norm_rope_cases));
    all.push_back(group("attention", attention_cases));
    all.push_back(group("short_conv", short_conv_cases));
    all.push_back(group("swiglu", swiglu_cases));
    all.push_back(group("route", route_cases));
    all.push_back(group("expert_ffn", expert_ffn_cases));
    all.push_back(group("add", add_cases));
    all.push_back(group("copy", copy_cases));
    return all;
}

std::vector<std::string> group_names() {
    std::vector<std::string> names;
    for (const Group& each : groups()) names.push_back(each.name);
    return names;
}

const Group& group_called(const std::vector<Group>& groups, const std::string& name) {
    return *std::ranges::find(groups, name, &Group::name);
}

std::size_t n_cases(const Backend& backend) {
    std::size_t n = 0;
    for (const Group& each : groups()) n += each.n_cases(backend);
    return n;
}

}  // namespace lfm::operation_cases
