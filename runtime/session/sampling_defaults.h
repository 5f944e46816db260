// The sampling values that Liquid recommends for each model.
#pragma once

#include <optional>
#include <string_view>

#include "runtime/session/sampler.h"

namespace lfm {

/// `general.sampling.*` of a GGUF, as far as the file has them.
struct FileSampling {
    std::optional<float> temperature;     // temp
    std::optional<int> top_k;             // top_k
    std::optional<float> top_p;           // top_p
    std::optional<float> min_p;           // min_p
    std::optional<float> repeat_penalty;  // penalty_repeat
    std::optional<int> repeat_last_n;     // penalty_last_n
};

/// By `general.name` ("LFM2.5-8B-A1B", "Lfm2 1.2B": case does not count; '-', '_' and ' ' are equal). Values of the
/// file win over the table. Throws kInvalidModel when a value of the file is out of range.
SamplingParams recommended_sampling(std::string_view model_name, const FileSampling& file = {});

}  // namespace lfm
