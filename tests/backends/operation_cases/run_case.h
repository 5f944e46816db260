// Runs the cases of the table on a bed and compares each with the reference. One group is one test.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "tests/backends/operation_cases/bed.h"
#include "tests/backends/operation_cases/cases.h"

namespace lfm::operation_cases {

// GoogleTest expectations fail where the backend misses a bar.
void run_case(Bed& bed, const EmbedCase& each, GroupTally& tally);
void run_case(Bed& bed, const RmsNormCase& each, GroupTally& tally);
void run_case(Bed& bed, const MatmulCase& each, GroupTally& tally);
void run_case(Bed& bed, const QkNormRopeCase& each, GroupTally& tally);
void run_case(Bed& bed, const AttentionCase& each, GroupTally& tally);
void run_case(Bed& bed, const ShortConvCase& each, GroupTally& tally);
void run_case(Bed& bed, const SwigluCase& each, GroupTally& tally);
void run_case(Bed& bed, const RouteCase& each, GroupTally& tally);
void run_case(Bed& bed, const ExpertFfnCase& each, GroupTally& tally);
void run_case(Bed& bed, const AddCase& each, GroupTally& tally);
void run_case(Bed& bed, const CopyCase& each, GroupTally& tally);

/// Which cases of a group: every `every`-th from `first` on, at most `most`.
struct Part {
    std::size_t first = 0, every = 1, most = ~std::size_t{0};
};

struct Group {
    std::string name;  // "matmul_Q4_K"
    /// The cases that this backend runs: all but those with a weight type that it does not support.
    std::function<std::size_t(const Backend&)> n_cases;
    std::function<void(Bed&, const Backend&, const Part&)> run_part;

    /// Runs them, stops after a few failed ones, and prints how many there were.
    void run(Bed& bed, const Backend& backend, const Part& part = {}) const { run_part(bed, backend, part); }
};

/// Embed, rms_norm, one matmul group for each weight type, and so on.
std::vector<Group> groups();
std::vector<std::string> group_names();
const Group& group_called(const std::vector<Group>& groups, const std::string& name);

/// Of all groups.
std::size_t n_cases(const Backend& backend);

}  // namespace lfm::operation_cases
