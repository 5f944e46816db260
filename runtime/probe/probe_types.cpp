// Which weight types are measured, and what is assumed of the others.
#include <algorithm>
#include <array>
#include <string>

#include "runtime/probe/probe_parts.h"

namespace lfm {
namespace {

/// The types of Liquid's files, and one that stands for those without a kernel of their own.
constexpr DType kStandIn = DType::kQ4_1;
constexpr std::array kUsualTypes{DType::kQ4_0, DType::kQ8_0, DType::kQ4_K, DType::kQ5_K,
                                 DType::kQ6_K, DType::kF16,  kStandIn};

Figure assumed_from(const Figure& figure, DType from) {
    return {figure.stated, Assumed{"not measured; as " + std::string(dtype_name(from))}};
}

}  // namespace

std::vector<DType> probed_types(ProbeEffort effort, const Backend& backend) {
    std::vector<DType> types;
    for (const DTypeInfo& info : all_dtypes()) {
        const bool usual = std::ranges::find(kUsualTypes, info.type) != kUsualTypes.end();
        if ((usual || effort == ProbeEffort::kFull) && backend.supports(info.type)) types.push_back(info.type);
    }
    return types;
}

void assume_others(TypeFigures& figures, const Backend& backend) {
    for (const DType type : {DType::kF32, DType::kBF16})
        if (!figures.types.contains(type) && figures.types.contains(DType::kF16) && backend.supports(type))
            figures.types[type] = assumed_from(figures.types[DType::kF16], DType::kF16);
    if (!figures.types.contains(kStandIn)) return;
    std::vector<DType> others;
    bool all_supported = true;
    for (const DTypeInfo& info : all_dtypes()) {
        if (figures.types.contains(info.type)) continue;
        others.push_back(info.type);
        all_supported = all_supported && backend.supports(info.type);
    }
    if (others.empty()) return;
    const Figure assumed = assumed_from(figures.types[kStandIn], kStandIn);
    if (all_supported) {
        figures.others = assumed;
        return;
    }
    for (const DType type : others)
        if (backend.supports(type)) figures.types[type] = assumed;
}

}  // namespace lfm
