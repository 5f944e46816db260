// What a case runs on: a backend, the place of its operands, the bars that it must meet, and one set of StepParams.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

#include "backends/backend.h"
#include "tests/backends/operation_cases/operands.h"
#include "tests/backends/operation_cases/place.h"
#include "tests/backends/operation_cases/reference.h"
#include "tests/backends/step_sequence.h"

namespace lfm::operation_cases {

/// The largest NMSE that is accepted.
struct Bars {
    reference::Activations activations = reference::Activations::kQuantised;
    double elementwise = 1e-7;  // norm, rope, swiglu, add, short_conv, embed
    double softmax = 1e-6;      // the router's weights
    double f32_matmul = 1e-10;
    double half_matmul = 1e-6;       // F16 and BF16 weights
    double quantised_matmul = 1e-9;  // on the same quantised operands
    double attention = 1e-6;         // on the same cache

    // The same for every backend. A result that is quantised between two matmuls may fall to a neighbouring level when
    // its last bits differ.
    double requantised_case = 1e-4;
    double requantised_group = 1e-6;
    // Against plain activations: one matmul, a group of them, and two after one another.
    double rounding_case = 5e-4;
    double rounding_group = 1e-4;
    double chained_rounding_group = 5e-4;

    static Bars cpu(reference::Activations activations) { return {.activations = activations}; }
    static Bars gpu() { return {.f32_matmul = 1e-7, .quantised_matmul = 1e-7, .attention = 5e-4}; }

    double matmul(DType weight_type) const {
        if (reference::meets_quantised(weight_type)) return quantised_matmul;
        return weight_type == DType::kF32 ? f32_matmul : half_matmul;
    }
};

class Bed {
public:
    Bed(Backend& backend, Place& place, const Bars& bars, DeviceId self);

    const Bars& bars() const { return bars_; }
    DeviceId self() const { return self_; }
    WeightPools& weights() { return weights_; }

    /// Frees the operands of the previous case.
    void start_case(std::uint32_t n_tokens);

    template <typename T>
    T* put(std::span<const T> values) {
        return reinterpret_cast<T*>(place_.put(std::as_bytes(values)));
    }
    template <typename T>
    T* put(const std::vector<T>& values) {
        return put(std::span<const T>(values));
    }
    /// Bytes of ones: NaN as floats, −1 as ids. What stays so was not written.
    template <typename T>
    T* room(std::size_t n) {
        return reinterpret_cast<T*>(place_.put(std::vector<std::byte>(n * sizeof(T), std::byte{0xff})));
    }
    template <typename T>
    std::vector<T> get(const T* from, std::size_t n) {
        std::vector<T> values(n);
        place_.get(std::as_writable_bytes(std::span(values)), reinterpret_cast<const std::byte*>(from));
        return values;
    }
    WeightView put(const Matrix& matrix, DType type, std::uint32_t n_out, std::uint32_t n_in) {
        return {place_.put(matrix.blocks), type, n_out, n_in, row_bytes(type, n_in)};
    }

    void set_tokens(std::span<const std::int32_t> ids);
    void set_rope(std::span<const float> rope);
    void set_forced(std::span<const std::int32_t> ids);

    /// Records the operations, runs them and waits.
    void run(std::span<const Operation> operations);
    void run(std::initializer_list<Operation> operations) { run(std::span(operations.begin(), operations.size())); }

    /// Keeps the table as long as the bed: recorded programs refer to it.
    ExpertTable& keep(ExpertTable table) { return tables_.emplace_back(std::move(table)); }

    std::size_t n_damaged() { return place_.n_damaged(); }

    /// The step's n_tokens tokens follow `position` tokens of a sequence.
    void follow(std::uint32_t position, std::uint32_t window = 0) { test::follow(step, sequence_, position, window); }

    StepParams step;

private:
    StepSequence sequence_;
    Backend& backend_;
    Place& place_;
    Bars bars_;
    DeviceId self_;
    WeightPools weights_;
    std::deque<ExpertTable> tables_;
    // Of the largest size, because a device may copy more than the present program reads.
    std::vector<std::int32_t> token_ids_;
    std::vector<float> rope_;
    std::vector<std::int32_t> forced_;
};

/// Squared differences from the reference, and what they are measured by.
struct Comparison {
    double error = 0, largest_error = 0, squares = 0, terms = 0;
    std::size_t n = 0;

    void add(std::span<const float> found, std::span<const double> expected);

    /// Σ(a−b)² / max(Σb², terms): sums may cancel to nearly nothing.
    double nmse() const;
};

Comparison compare(std::span<const float> found, std::span<const double> expected);
Comparison compare(std::span<const float> found, const reference::Sums& expected);

/// The NMSE, and that no single value is far off.
void expect_within(const Comparison& comparison, double bar);
void expect_nmse_within(const Comparison& comparison, double bar);

/// The mean NMSE of a group of cases, weighted by their numbers of values.
class Mean {
public:
    void add(const Comparison& comparison) {
        sum_ += comparison.nmse() * static_cast<double>(comparison.n);
        n_ += comparison.n;
    }
    bool is_empty() const { return n_ == 0; }
    double value() const { return is_empty() ? 0 : sum_ / static_cast<double>(n_); }

private:
    double sum_ = 0;
    std::size_t n_ = 0;
};

/// Figures that have a bar for a whole group of cases only.
struct GroupTally {
    Mean rounding;          // of one matmul, against plain activations
    Mean chained_rounding;  // of two, one after the other
    Mean requantised;       // against the same operands, quantised again between two matmuls
};

}  // namespace lfm::operation_cases
