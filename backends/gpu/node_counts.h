// How many launches of each kernel a step has.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "backends/device.h"

namespace lfm::gpu {

/// Counting allocates nothing: there are fewer kinds of kernels in a step than there is room for.
class NodeCounts {
public:
    NodeCounts() { kinds_.reserve(kMostKinds); }

    void clear() { kinds_.clear(); }
    void add(const char* kernel, std::uint32_t n = 1) {
        // Compares addresses: names are literals. One name may have several, which kinds() adds up.
        const auto found = std::ranges::find(kinds_, kernel, &Kind::kernel);
        if (found != kinds_.end())
            found->n += n;
        else if (kinds_.size() < kMostKinds)
            kinds_.push_back({kernel, n});
    }
    void add(const NodeCounts& others) {
        for (const Kind& kind : others.kinds_) add(kind.kernel, kind.n);
    }
    std::vector<StepNodes::Kind> kinds() const {
        std::vector<StepNodes::Kind> by_name;
        for (const Kind& kind : kinds_) {
            const auto same = std::ranges::find(by_name, kind.kernel, &StepNodes::Kind::kernel);
            if (same != by_name.end())
                same->n += kind.n;
            else
                by_name.push_back({kind.kernel, kind.n});
        }
        return by_name;
    }

private:
    static constexpr std::size_t kMostKinds = 256;

    struct Kind {
        const char* kernel;
        std::uint32_t n;
    };
    std::vector<Kind> kinds_;
};

}  // namespace lfm::gpu
