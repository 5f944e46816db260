// Steps of many sequences: each row gets what it gets when its sequence is alone, in pages side by side.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "backends/backend.h"
#include "tests/backends/operation_cases/place.h"

namespace lfm::operation_cases {

inline constexpr BackendLimits kBatchLimits{.n_batch = 64, .n_ctx = 200, .n_sequences = 6};

/// What a batch is run on: a backend of kBatchLimits, where its operands are, and the type of its cache.
struct BatchTarget {
    Backend& backend;
    Place& place;
    DType type;
    /// The largest NMSE; 0: the same bits.
    double attention_bar = 0, conv_bar = 0;
};

/// Sequences in scattered pages take part in steps with some of their tokens, in any order.
void check_that_sequences_are_as_alone(const BatchTarget& target);
/// Another sequence goes on from any token of the first: in a copied page, from a saved window or by doing rows again.
void check_that_others_go_on_from_any_token(const BatchTarget& target);

}  // namespace lfm::operation_cases
