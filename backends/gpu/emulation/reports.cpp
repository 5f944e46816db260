#include "backends/gpu/emulation/reports.h"

#include <cstdio>
#include <mutex>
#include <utility>

namespace lfm::gpu::emulation {

namespace {

std::mutex mutex;
std::vector<std::string> reports;
constexpr std::size_t kMostReports = 1000;

}  // namespace

void report(std::string_view text) {
    const std::lock_guard lock(mutex);
    std::fprintf(stderr, "GPU emulation: %.*s\n", static_cast<int>(text.size()), text.data());
    if (reports.size() < kMostReports) reports.emplace_back(text);
}

std::vector<std::string> take_reports() {
    const std::lock_guard lock(mutex);
    return std::exchange(reports, {});
}

}  // namespace lfm::gpu::emulation
