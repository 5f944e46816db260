// What attention begins with: qk_norm_rope, kv_append, and both as one launch; pages are copied before.
#include <string>

#include "backends/gpu/kernels/rope_append.h"
#include "backends/gpu/operations/operations.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

KvAppendPush::Part part_of(const RowsView& x, std::byte* cache, DType type) {
    if (type == DType::kQ8_0 && x.n_cols % 32 != 0)
        throw Error(ErrorCode::kUnsupportedModel, "kv_append",
                    "expected rows of a multiple of 32, found " + std::to_string(x.n_cols));
    return {x.data, cache, cache_type("kv_append", type), static_cast<std::uint32_t>(row_bytes(type, x.n_cols))};
}

QkNormRopePush push_of(const Recorder& recorder, const QkNormRopeArgs& args) {
    if (args.head_dim == 0 || args.head_dim % 2 != 0)
        throw Error(ErrorCode::kUnsupportedModel, "qk_norm_rope",
                    "expected heads of a multiple of 2, found " + std::to_string(args.head_dim));
    return {.step = recorder.step(),
            .q = args.q.data,
            .k = args.k.data,
            .q_norm = args.q_norm,
            .k_norm = args.k_norm,
            .n_head = args.q.n_cols / args.head_dim,
            .n_head_kv = args.k.n_cols / args.head_dim,
            .head_dim = args.head_dim,
            .eps = args.eps};
}

/// Only steps of StepClass::kMany copy pages.
void copy_pages(Recorder& recorder, const KvAppendPush::Part& k, const KvAppendPush::Part& v) {
    if (recorder.step_class() == StepClass::kOne) return;
    const CopyPagesPush push{.step = recorder.step(), .k = {k.cache, k.row_bytes}, .v = {v.cache, v.row_bytes}};
    recorder.launch(copy_pages_kernel(), push, {fixed(kCopyGroups), per_count(StepCount::kPageCopies), fixed(2)});
}

}  // namespace

CacheType cache_type(const char* operation, DType type) {
    switch (type) {
        case DType::kF32: return CacheType::kF32;
        case DType::kF16: return CacheType::kF16;
        case DType::kQ8_0: return CacheType::kQ8_0;
        default:
            throw Error(ErrorCode::kUnsupportedModel, operation,
                        "expected a cache of F32, F16 or Q8_0, found " + std::string(dtype_name(type)));
    }
}

void lower(Recorder& recorder, const QkNormRopeArgs& args) {
    const QkNormRopePush push = push_of(recorder, args);
    recorder.launch(
        qk_norm_rope_kernel(), push,
        {fixed(groups_of(push.n_head + push.n_head_kv, kHeadsOfGroup)), per_row(RowSet::kTokens), fixed(1)});
}

bool can_merge(const QkNormRopeArgs& rope, const KvAppendArgs& append) {
    const auto blocks_fit = [&](DType type) { return type != DType::kQ8_0 || rope.head_dim % 64 == 0; };
    return append.k.data == rope.k.data && append.k.n_cols == rope.k.n_cols && append.v.n_cols == rope.k.n_cols &&
           blocks_fit(append.cache.k_type) && blocks_fit(append.cache.v_type);
}

void lower(Recorder& recorder, const QkNormRopeArgs& rope, const KvAppendArgs& append) {
    const RopeAppendPush push{.rope = push_of(recorder, rope),
                              .k = part_of(append.k, append.cache.k, append.cache.k_type),
                              .v = part_of(append.v, append.cache.v, append.cache.v_type)};
    copy_pages(recorder, push.k, push.v);
    recorder.launch(rope_append_kernel(), push,
                    {fixed(groups_of(push.rope.n_head + 2 * push.rope.n_head_kv, kHeadsOfGroup)),
                     per_row(RowSet::kTokens), fixed(1)});
}

void lower(Recorder& recorder, const KvAppendArgs& args) {
    if (args.k.n_cols != args.v.n_cols)
        throw Error(ErrorCode::kUnsupportedModel, "kv_append",
                    "expected keys and values of one width, found " + std::to_string(args.k.n_cols) + " and " +
                        std::to_string(args.v.n_cols));
    const KvAppendPush push{.step = recorder.step(),
                            .k = part_of(args.k, args.cache.k, args.cache.k_type),
                            .v = part_of(args.v, args.cache.v, args.cache.v_type),
                            .n_cols = args.k.n_cols};
    copy_pages(recorder, push.k, push.v);
    recorder.launch(kv_append_kernel(), push,
                    {fixed(groups_of(push.n_cols, kAppendColumns)), per_row(RowSet::kTokens), fixed(2)});
}

}  // namespace lfm::gpu
