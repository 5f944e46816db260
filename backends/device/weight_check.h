// What kernels on a GPU expect of weights, whatever the backend.
#pragma once

#include <string_view>

#include "backends/backend.h"

namespace lfm {

/// Throws Error{kUnsupportedModel} unless kernels can multiply with it: rows of whole blocks, at addresses that loads
/// of whole words reach, apart by what 32 bits hold. `data` null: the address is not known yet.
void check_weight(std::string_view operation, const WeightView& weight);

}  // namespace lfm
