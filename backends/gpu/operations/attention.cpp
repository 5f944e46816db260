// attention: tiles of rows, or of the keys of a sequence's single row.
#include <algorithm>
#include <bit>
#include <cmath>
#include <initializer_list>
#include <numbers>
#include <string>
#include <utility>

#include "backends/gpu/kernels/attention.h"
#include "backends/gpu/operations/matmul.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

// Groups that a processor should have while it waits for memory.
constexpr std::uint32_t kGroupsOfProcessor = 4;
// Processors beyond these do not lead to more splits: memory is reserved for so many, whatever the device.
constexpr std::uint32_t kMostProcessors = 160;

bool is_aligned(std::initializer_list<const void*> pointers, std::uintptr_t bytes) {
    return std::ranges::all_of(
        pointers, [bytes](const void* each) { return reinterpret_cast<std::uintptr_t>(each) % bytes == 0; });
}

void check(const AttentionArgs& args) {
    const KvView& cache = args.cache;
    const auto is_q8_0 = [](DType type) { return cache_type("attention", type) == CacheType::kQ8_0; };
    const std::uint32_t unit = is_q8_0(cache.k_type) || is_q8_0(cache.v_type) ? 32 : 4;
    if (cache.head_dim == 0 || cache.head_dim > 256 || cache.head_dim % unit != 0)
        throw Error(ErrorCode::kUnsupportedModel, "attention",
                    "expected heads of a multiple of " + std::to_string(unit) + " up to 256, found " +
                        std::to_string(cache.head_dim));
    if (cache.n_head_kv == 0 || args.q.n_cols == 0 || args.q.n_cols % (cache.n_head_kv * cache.head_dim) != 0)
        throw Error(ErrorCode::kUnsupportedModel, "attention",
                    "expected queries of a multiple of " + std::to_string(cache.n_head_kv * cache.head_dim) +
                        ", found " + std::to_string(args.q.n_cols));
    for (const auto& [data, type] : {std::pair{cache.k, cache.k_type}, {cache.v, cache.v_type}})
        if (const std::uint32_t bytes = is_q8_0(type) ? 2 : 16; !is_aligned({data}, bytes))
            throw Error(ErrorCode::kUnsupportedModel, "attention",
                        "expected a cache at a multiple of " + std::to_string(bytes) + " bytes");
    if (!is_aligned({args.q.data, args.out.data}, 16))
        throw Error(ErrorCode::kUnsupportedModel, "attention", "expected rows at multiples of 16 bytes");
}

/// How kernels read the cache.
CacheReads reads_of(const KvView& cache) {
    if (cache.head_dim != 64 && cache.head_dim != 128) return CacheReads::kAny;
    if (cache.k_type == DType::kF16 && cache.v_type == DType::kF16) return CacheReads::kF16;
    if (cache.k_type == DType::kQ8_0 && cache.v_type == DType::kQ8_0 && is_aligned({cache.k, cache.v}, 4))
        return CacheReads::kQ8_0;
    return CacheReads::kAny;
}

/// Among how many groups of a key/value head a row's keys are shared out, with the longest context.
std::uint32_t n_splits(const AttentionArgs& args, std::uint32_t n_ctx, std::uint32_t n_processors) {
    const std::uint32_t heads_share = args.q.n_cols / args.cache.head_dim / args.cache.n_head_kv;
    const std::uint32_t others = args.cache.n_head_kv * groups_of(heads_share, kHeadsOfSplit);
    const std::uint32_t wanted = groups_of(kGroupsOfProcessor * std::min(n_processors, kMostProcessors), others);
    return std::clamp(wanted, 1u, needs::gpu::most_splits(n_ctx));
}

AttentionPush push_of(const Recorder& recorder, const AttentionArgs& args) {
    const KvView& cache = args.cache;
    const auto head_bytes = [&cache](DType type) {
        return static_cast<std::uint32_t>(row_bytes(type, cache.head_dim));
    };
    return {.step = recorder.step(),
            .q = args.q.data,
            .keys = cache.k,
            .values = cache.v,
            .out = args.out.data,
            .n_head_kv = cache.n_head_kv,
            .heads_share = args.q.n_cols / cache.head_dim / cache.n_head_kv,
            .head_dim = cache.head_dim,
            .key_bytes = head_bytes(cache.k_type),
            .value_bytes = head_bytes(cache.v_type),
            .key_type = cache_type("attention", cache.k_type),
            .value_type = cache_type("attention", cache.v_type),
            .scale = std::numbers::log2e_v<float> / std::sqrt(static_cast<float>(cache.head_dim)),
            .n_splits = 1,
            .tile_heads = 1,
            .tile_tokens = 1};
}

/// The same where single rows of several sequences are attended to at once. The same for every step, so that no row's
/// result depends on the others.
std::uint32_t n_splits_of_many(const AttentionArgs& args, const BackendLimits& limits, std::uint32_t n_processors) {
    const std::uint32_t n_head_kv = args.cache.n_head_kv;
    const std::uint32_t heads_share = args.q.n_cols / args.cache.head_dim / n_head_kv;
    const std::uint64_t n_tickets =
        std::uint64_t{limits.n_sequences} * n_head_kv * groups_of(heads_share, kHeadsOfSplit);
    if (n_tickets > kMostTickets) return 1;
    return std::min(n_splits(args, limits.n_ctx, n_processors), needs::gpu::kMostSplitsOfMany);
}

void split_keys(Recorder& recorder, const AttentionArgs& args) {
    AttentionPush push = push_of(recorder, args);
    const bool many = recorder.step_class() == StepClass::kMany;
    const std::uint32_t n_processors = recorder.traits().n_processors;
    push.n_splits = many ? n_splits_of_many(args, recorder.limits(), n_processors)
                         : n_splits(args, recorder.limits().n_ctx, n_processors);
    push.parts = recorder.scratch<float>(ScratchUse::kAttention);
    push.tickets = recorder.tickets();
    const std::uint32_t by_share = groups_of(push.heads_share, kHeadsOfSplit);
    if (push.n_head_kv * by_share > kMostTickets)
        throw Error(ErrorCode::kUnsupportedModel, "attention",
                    "expected at most " + std::to_string(kMostTickets) + " key/value heads, found " +
                        std::to_string(push.n_head_kv));
    if (!many && push.head_dim % 32 == 0) push.to = quantised_output(recorder, args.out);
    recorder.launch(attention_split_kernel(reads_of(args.cache), push.head_dim, many), push,
                    {many ? per_count(StepCount::kSingles, 1, push.n_splits) : fixed(push.n_splits),
                     fixed(push.n_head_kv), fixed(by_share)});
}

void tile_rows(Recorder& recorder, const AttentionArgs& args) {
    AttentionPush push = push_of(recorder, args);
    const CacheReads reads = reads_of(args.cache);
    const bool halves = recorder.traits().multiplies_tiles && reads != CacheReads::kAny;
    const std::uint32_t rows = halves ? kHalfTileRows : rows_of_tile(push.head_dim);
    push.tile_heads = std::min(push.heads_share, rows);
    push.tile_tokens = rows / push.tile_heads;
    recorder.launch(halves ? attention_half_tile_kernel(reads, push.head_dim) : attention_tile_kernel(push.head_dim),
                    push,
                    {per_count(StepCount::kPromptRows, push.tile_tokens), fixed(push.n_head_kv),
                     fixed(groups_of(push.heads_share, push.tile_heads))});
}

}  // namespace

void reserve(ScratchSizes& sizes, const AttentionArgs& args) {
    check(args);
    const BackendLimits& limits = sizes.limits();
    const std::uint64_t most = std::max(n_splits(args, limits.n_ctx, kMostProcessors),
                                        limits.n_sequences * n_splits_of_many(args, limits, kMostProcessors));
    sizes.need(ScratchUse::kAttention,
               args.q.n_cols / args.cache.head_dim * most * needs::gpu::split_bytes(args.cache.head_dim));
}

void lower(Recorder& recorder, const AttentionArgs& args) {
    check(args);
    if (recorder.step_class() == StepClass::kMany) tile_rows(recorder, args);
    split_keys(recorder, args);
}

}  // namespace lfm::gpu
