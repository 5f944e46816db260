// Which type each tensor of a quantised file has: the mixes that Liquid's files use.
#pragma once

#include <optional>
#include <string_view>

#include "planner/model/model.h"

namespace lfm {

/// Sets the type and bytes of every tensor. `mix` is a type ("Q4_0", "F16") or a mix of types ("Q4_K_M", "Q5_K_M",
/// "Q3_K_M", "Q4_K_S"). Rows that a block does not divide get a type with smaller blocks. Norms, taps, routers and
/// biases stay F32. False when `mix` is unknown.
bool apply_type_mix(ModelDescription& model, std::string_view mix);

}  // namespace lfm
