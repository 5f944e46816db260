#include "tools/eval/speed.h"

#include <cstdio>

#include "tools/common/prediction.h"

namespace lfm::tools {
namespace {

std::string per_second(double n, double seconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g tok/s", n / seconds);
    return text;
}

}  // namespace

void EvalSpeed::add(std::uint32_t n_tokens) {
    ++steps_[n_tokens];
    n_tokens_ += n_tokens;
    seconds_ += placed_.placed().session().engine().last_times().total;
}

std::string EvalSpeed::text() const {
    std::string text = std::to_string(n_tokens_) + " tokens";
    if (seconds_ > 0) text += " at " + per_second(static_cast<double>(n_tokens_), seconds_);
    const Placed& placed = placed_.placed();
    if (placed.device() == nullptr || placed.session().loss()) return text;
    const DeviceChoice& device = placed_.device();
    text += " (" + device.name + ")";
    const PredictionInputs inputs{placed.model().description(), placed.plan(), *device.machine, device.device, {}};
    double predicted = 0;
    for (const auto& [n, count] : steps_) {
        const auto seconds = predict_prefill(inputs, n, n);
        if (!seconds) return text;
        predicted += *seconds * static_cast<double>(count);
    }
    return predicted > 0 ? text + ", predicted " + per_second(static_cast<double>(n_tokens_), predicted) : text;
}

}  // namespace lfm::tools
