#include "backends/gpu/emulation/copies.h"

#include <cstring>

#include "backends/gpu/emulation/group_runner.h"

namespace lfm::gpu::emulation {

CopiesUnderWay::CopiesUnderWay(std::uint32_t most_threads) : of_thread_(most_threads) {
    // Memory is taken here, not by the group's threads: see GroupRunner's constructor.
    for (auto& copies : of_thread_) copies.reserve(8);
}

void CopiesUnderWay::start(std::uint32_t thread, void* to, const void* from, std::size_t size) {
    std::memset(to, 0xff, size);
    of_thread_[thread].push_back({to, from, size});
    ++n_;
}

void CopiesUnderWay::finish(std::uint32_t thread) {
    for (const Copy& copy : of_thread_[thread]) std::memcpy(copy.to, copy.from, copy.size);
    n_ -= of_thread_[thread].size();
    of_thread_[thread].clear();
}

std::uint32_t CopiesUnderWay::first_unfinished() const {
    std::uint32_t thread = 0;
    if (n_ == 0) return static_cast<std::uint32_t>(of_thread_.size());
    while (of_thread_[thread].empty()) ++thread;
    return thread;
}

void CopiesUnderWay::forget() {
    if (n_ == 0) return;
    for (auto& copies : of_thread_) copies.clear();
    n_ = 0;
}

void start_copy(void* to, const void* from, std::size_t size) {
    GroupRunner::current()->copies().start(here.thread, to, from, size);
}
void finish_copies() { GroupRunner::current()->copies().finish(here.thread); }

}  // namespace lfm::gpu::emulation
