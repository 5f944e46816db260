#include "runtime/step/state_identity.h"

#include <algorithm>
#include <sstream>

#include "memory/fnv1a.h"

namespace lfm {
namespace {

constexpr std::uint64_t kSample = 1024;  // bytes, of each tensor's beginning and end

std::uint64_t weights_sum(const Model& model) {
    Fnv1a sum;
    const auto add = [&](std::span<const std::byte> bytes) {
        sum.add(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    };
    for (const TensorRef* tensor : all_tensors(model.description())) {
        if (tensor->offset + tensor->bytes.value > model.data().size()) continue;
        const auto bytes = model.data().subspan(tensor->offset, tensor->bytes.value);
        const std::size_t n = std::min<std::size_t>(kSample, bytes.size());
        add(bytes.first(n));
        add(bytes.last(n));
    }
    return sum.value();
}

std::uint64_t places_sum(const Plan& plan) {
    Fnv1a sum;
    for (const DeviceId id : plan.layers) sum.add(id.value);
    for (const DeviceId id : plan.experts) sum.add(id.value);
    sum.add(plan.embedding.value);
    sum.add(plan.output.value);
    return sum.value();
}

}  // namespace

std::string state_identity(std::string_view program, const Model& model, const SessionOptions& options) {
    const cpu::Kernels& kernels = options.kernels != nullptr ? *options.kernels : cpu::best_kernels();
    std::ostringstream text;
    text << program << "; " << model.plan().model.architecture << ' ' << model.plan().model.tensors << ' '
         << weights_sum(model) << "; " << kernels.name << ' ' << dtype_name(options.kv.k) << ' '
         << dtype_name(options.kv.v);
    if (model.device() != nullptr) text << "; " << model.device()->name() << ' ' << places_sum(model.plan());
    return text.str();
}

}  // namespace lfm
