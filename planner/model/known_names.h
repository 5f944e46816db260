// Which keys and tensors of a model file are known: what is not could change the result, and is not ignored in silence.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "planner/model/model.h"

namespace lfm {

/// A key or tensor that the forward pass does not take into account.
struct UnknownName {
    std::string name;      // printable; as --allow-unknown takes it
    std::string expected;  // "no such tensor", "1"
    std::string found;     // "one of [64]", "0"
};

/// Every tensor that `model` has no place for, and every key that is neither known nor harmless: general.*,
/// tokenizer.*, quantize.*, split.* are harmless, and keys of the architecture whose value asks for nothing that is not
/// computed (rope.dimension_count = the head size, attention.causal = true, …). In the file's order, keys first.
std::vector<UnknownName> unknown_names(const GgufFile& file, const ModelDescription& model);

/// Throws Error{kUnsupportedModel} naming the first that no pattern of `allowed` matches (a name; * stands for any
/// text) and the option that allows it. Returns the names that are allowed.
std::vector<std::string> check_unknown_names(const GgufFile& file, const ModelDescription& model,
                                             std::span<const std::string> allowed);

}  // namespace lfm
