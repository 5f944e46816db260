#include "tests/backends/operation_cases/bed.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "tests/backends/operation_cases/cases.h"

namespace lfm::operation_cases {

Bed::Bed(Backend& backend, Place& place, const Bars& bars, DeviceId self)
    : backend_(backend),
      place_(place),
      bars_(bars),
      self_(self),
      token_ids_(kLimits.n_batch),
      rope_(std::size_t{kLimits.n_batch} * kMostHeadDim),
      forced_(std::size_t{kMoeLayers} * kLimits.n_batch * kMostExpertsUsed) {
    step.token_ids = token_ids_.data();
    step.rope = rope_.data();
}

void Bed::start_case(std::uint32_t n_tokens) {
    place_.clear();
    step.n_tokens = n_tokens;
    step.sequences = {};
    step.n_outputs = 1;
    step.forced_experts = nullptr;
}

void Bed::set_tokens(std::span<const std::int32_t> ids) { std::ranges::copy(ids, token_ids_.begin()); }

void Bed::set_rope(std::span<const float> rope) { std::ranges::copy(rope, rope_.begin()); }

void Bed::set_forced(std::span<const std::int32_t> ids) {
    std::ranges::copy(ids, forced_.begin());
    step.forced_experts = forced_.data();
}

void Bed::run(std::span<const Operation> operations) {
    const Program program = backend_.record(operations, step);
    place_.begin_step();
    backend_.submit(program);
    backend_.wait();
}

void Comparison::add(std::span<const float> found, std::span<const double> expected) {
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        const double difference = found[i] - expected[i];
        error += difference * difference;
        largest_error = std::max(largest_error, std::fabs(difference));
        squares += expected[i] * expected[i];
    }
    n += found.size();
}

double Comparison::nmse() const {
    constexpr double kNothing = 1e-30;  // what a device that flushes subnormal values loses
    return error / (std::max(squares, terms) + kNothing);
}

Comparison compare(std::span<const float> found, std::span<const double> expected) {
    Comparison comparison;
    comparison.add(found, expected);
    return comparison;
}

Comparison compare(std::span<const float> found, const reference::Sums& expected) {
    Comparison comparison = compare(found, expected.values);
    comparison.terms = expected.terms;
    return comparison;
}

void expect_nmse_within(const Comparison& comparison, double bar) { EXPECT_LE(comparison.nmse(), bar); }

void expect_within(const Comparison& comparison, double bar) {
    expect_nmse_within(comparison, bar);
    if (comparison.n == 0) return;
    const double size =
        std::sqrt((std::max(comparison.squares, comparison.terms) + 1e-30) / static_cast<double>(comparison.n));
    EXPECT_LE(comparison.largest_error, 8 * std::sqrt(bar) * size)
        << "one of " << comparison.n << " values of size " << size;
}

}  // namespace lfm::operation_cases
