// Models without a file: the family's members by name, and free sizes.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "planner/model/model.h"

namespace lfm {

/// "NAME:TYPE" or "NAME,key=value,…:TYPE". NAME is a member of the family ("lfm2-24b-a2b", "lfm2.5-1.2b") or "lfm2" /
/// "lfm2moe" (small sizes to start from); keys are n_layer n_embd n_head n_head_kv n_ff n_vocab n_ctx l_cache n_expert
/// n_expert_used n_ff_exp n_layer_dense, attention (layers, as 2.5.8) and output (tied or separate). TYPE as for
/// apply_type_mix. Tensor offsets are those of a file with alignment 32. Throws Error{kUsage} naming what is wrong.
ModelDescription describe_shape(std::string_view shape);

/// Names of the family's members.
std::vector<std::string> shape_names();

}  // namespace lfm
