// What keys, values and windows of a session depend on beside the tokens.
#pragma once

#include <string>
#include <string_view>

#include "runtime/step/session_options.h"
#include "runtime/tensors/model.h"

namespace lfm {

/// The same text for two sessions only when what one has computed is what the other would compute: the program (a
/// version and commit), the model's sizes and samples of every tensor's bytes, the kernels, the cache's types and, with
/// a device, where everything is. Reads two pages of each tensor.
std::string state_identity(std::string_view program, const Model& model, const SessionOptions& options);

}  // namespace lfm
