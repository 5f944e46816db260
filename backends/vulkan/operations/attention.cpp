// attention: its work is cut into tiles of tokens, or into splits of the keys of a sequence's single token.
#include <algorithm>
#include <bit>
#include <string>

#include "backends/needs/vulkan_needs.h"
#include "backends/vulkan/operations/operations.h"
#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::uint32_t kTileElements = 2048;  // of queries, and of keys or values, in a group's shared memory
constexpr std::uint32_t kMaxTile = 32;         // query rows, and keys

/// How the work is cut.
struct Cut {
    std::uint32_t n_head = 0;
    std::uint32_t heads_share = 0;  // query heads that share one key/value head
    std::uint32_t tile = 0;         // keys of a tile, and the most query rows
    std::uint32_t heads = 0;        // query heads of a group
};

Cut cut_of(const AttentionArgs& args) {
    const KvView& cache = args.cache;
    Cut cut{.n_head = args.q.n_cols / cache.head_dim};
    cut.heads_share = cut.n_head / cache.n_head_kv;
    cut.tile = std::min(kMaxTile, std::bit_floor(kTileElements / cache.head_dim));
    cut.heads = std::min(cut.heads_share, cut.tile);
    return cut;
}

void check(const AttentionArgs& args) {
    const KvView& cache = args.cache;
    for (const DType type : {cache.k_type, cache.v_type})
        if (type != DType::kF32 && type != DType::kF16 && type != DType::kQ8_0)
            throw Error(ErrorCode::kUnsupportedModel, "attention",
                        "expected a cache of F32, F16 or Q8_0, found " + std::string(dtype_name(type)));
    const std::uint32_t unit = cache.k_type == DType::kQ8_0 || cache.v_type == DType::kQ8_0 ? 32 : 4;
    if (cache.head_dim == 0 || cache.head_dim > 256 || cache.head_dim % unit != 0)
        throw Error(ErrorCode::kUnsupportedModel, "attention",
                    "expected heads of a multiple of " + std::to_string(unit) + " up to 256, found " +
                        std::to_string(cache.head_dim));
    if (cache.n_head_kv == 0 || args.q.n_cols == 0 || args.q.n_cols % (cache.n_head_kv * cache.head_dim) != 0)
        throw Error(ErrorCode::kUnsupportedModel, "attention",
                    "expected queries of a multiple of " + std::to_string(cache.n_head_kv * cache.head_dim) +
                        ", found " + std::to_string(args.q.n_cols));
}

/// Of sequences' single tokens, their keys in n_splits; 0: of the other sequences' tokens, in tiles.
void attend(Recorder& recorder, const AttentionArgs& args, const Cut& cut, std::uint32_t n_splits, std::uint64_t out) {
    const KvView& cache = args.cache;
    const std::uint32_t tile_tokens = n_splits > 0 ? 1 : std::max(1u, cut.tile / cut.heads);
    struct {
        std::uint64_t step, q, keys, values, out;
        std::uint32_t n_head_kv, head_key_bytes, head_value_bytes;
    } const push{recorder.params(),
                 address_of(args.q.data),
                 address_of(cache.k),
                 address_of(cache.v),
                 out,
                 cache.n_head_kv,
                 static_cast<std::uint32_t>(row_bytes(cache.k_type, cache.head_dim)),
                 static_cast<std::uint32_t>(row_bytes(cache.v_type, cache.head_dim))};
    const Kernel kernel("attention",
                        {cache.head_dim, cut.heads, cut.heads_share, tile_tokens, cut.tile,
                         static_cast<std::uint32_t>(cache.k_type), static_cast<std::uint32_t>(cache.v_type), n_splits});
    recorder.dispatch(
        kernel, push,
        {n_splits > 0 ? per_count(StepCount::kSingles, 1, n_splits) : per_count(StepCount::kPromptRows, tile_tokens),
         fixed(cache.n_head_kv), fixed(groups_of(cut.heads_share, cut.heads))});
}

}  // namespace

void reserve(ScratchSizes& sizes, const AttentionArgs& args) {
    check(args);
    const BackendLimits& limits = sizes.limits();
    const std::uint64_t most = needs::vulkan::most_splits(limits.n_ctx, limits.n_sequences);
    if (most > 1)
        sizes.need(ScratchUse::kAttention,
                   args.q.n_cols / args.cache.head_dim * most * needs::vulkan::split_bytes(args.cache.head_dim));
}

void lower(Recorder& recorder, const AttentionArgs& args) {
    check(args);
    const bool many = recorder.step_class() == StepClass::kMany;
    const std::uint32_t n_ctx = recorder.limits().n_ctx;
    // For every step the same, so that no row's result depends on the others.
    const std::uint32_t n_splits = many ? needs::vulkan::splits_of_many(n_ctx) : needs::vulkan::splits(n_ctx);
    const Cut cut = cut_of(args);
    if (many) attend(recorder, args, cut, 0, address_of(args.out.data));
    if (n_splits == 1) return attend(recorder, args, cut, 1, address_of(args.out.data));
    const std::uint64_t parts = recorder.scratch(ScratchUse::kAttention);
    attend(recorder, args, cut, n_splits, parts);
    recorder.barrier();
    struct {
        std::uint64_t step, parts, out;
    } const combine{recorder.params(), parts, address_of(args.out.data)};
    recorder.dispatch(Kernel("attention_combine", {args.cache.head_dim, n_splits}), combine,
                      {fixed(cut.n_head), per_count(StepCount::kSingles), fixed(1)});
}

}  // namespace lfm::vulkan
