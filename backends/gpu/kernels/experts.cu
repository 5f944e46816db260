#include "backends/gpu/kernels/experts.h"

#include "backends/gpu/kernels/find_expert.h"
#include "backends/gpu/platform/launch.h"

namespace lfm::gpu {
namespace {

constexpr std::uint32_t kSortThreads = 256;

struct SortShared {
    std::uint32_t place[kMostSortedExperts];  // how many rows; then where the next one goes
};

__global__ void __launch_bounds__(kSortThreads) sort(SortPush push) {
    begin_kernel();
    SortShared& shared = shared_memory<SortShared>();
    const std::uint32_t me = thread_index(), n_expert = push.source.n_expert;
    const std::uint32_t n_pairs = push.step->n_tokens * push.n_used;
    const auto expert_of = [&](std::uint32_t pair) {
        const std::uint32_t e = static_cast<std::uint32_t>(push.ids[pair]);
        return e < n_expert && push.found[e].held != 0 ? e : kNoRow;  // not from `place`: other threads add to it
    };
    for (std::uint32_t e = me; e < n_expert; e += kSortThreads) {
        const ExpertEntry entry = find_expert(push.source, e);
        push.found[e] = entry;
        shared.place[e] = 0;
    }
    sync_group();
    for (std::uint32_t i = me; i < n_pairs; i += kSortThreads)
        if (const std::uint32_t e = expert_of(i); e != kNoRow) add_atomically(&shared.place[e], 1);
    sync_group();
    if (me == 0) {
        std::uint32_t rows = 0;
        for (std::uint32_t e = 0; e < n_expert; ++e) {
            push.begin[e] = rows;
            const std::uint32_t n = shared.place[e];
            shared.place[e] = rows;
            rows += n;
        }
        push.begin[n_expert] = rows;
    }
    sync_group();
    // Which of an expert's rows a token gets may differ from run to run; what is computed from it does not.
    for (std::uint32_t i = me; i < n_pairs; i += kSortThreads) {
        const std::uint32_t e = expert_of(i);
        const std::uint32_t row = e != kNoRow ? add_atomically(&shared.place[e], 1) : kNoRow;
        if (row != kNoRow) push.token_of[row] = i / push.n_used;
        push.row_of[i] = row;
    }
}

__global__ void __launch_bounds__(kCombineThreads) combine(CombinePush push) {
    begin_kernel();
    const std::uint32_t t = group_index().x, i = group_index().y * kCombineThreads + thread_index();
    if (i >= push.n_out || t >= push.step->n_tokens) return;
    float sum = 0;
    for (std::uint32_t j = 0; j < push.n_used; ++j) {
        const std::uint32_t row = push.row_of[t * push.n_used + j];
        if (row != kNoRow)
            sum += push.weights[t * push.n_used + j] * push.expert_out[std::size_t{row} * push.n_out + i];
    }
    push.out[std::size_t{t} * push.n_out + i] = sum;
}

}  // namespace

Kernel sort_kernel() { return make_kernel<SortShared>("expert_sort", sort, kSortThreads); }
Kernel combine_kernel() { return make_kernel("expert_combine", combine, kCombineThreads); }

}  // namespace lfm::gpu
