// NaN and infinity spread: no operation may turn them into finite results.
#pragma once

#include <span>

#include "tests/backends/operation_cases/bed.h"

namespace lfm::operation_cases {

/// A NaN or an infinity in one token's row, for these weight types and for the caches: all results that depend on it
/// are not finite, the other tokens' are.
void check_that_nan_spreads(Bed& bed, std::span<const DType> weight_types);
void check_that_nan_spreads(Bed& bed);  // for all types

}  // namespace lfm::operation_cases
