// The operations before attention: qk_norm_rope, kv_append. Pages are copied before rows are appended.
#include <string>

#include "backends/vulkan/operations/operations.h"
#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::uint32_t kGroup = 64;  // local_size_x of the shaders

struct AppendShader {
    std::string_view name;
    std::uint32_t item;  // elements that one invocation converts
};

AppendShader append_shader(DType type) {
    switch (type) {
        case DType::kF32: return {"kv_append_f32", 1};
        case DType::kF16: return {"kv_append_f16", 2};
        case DType::kQ8_0: return {"kv_append_q8_0", 32};
        default:
            throw Error(ErrorCode::kUnsupportedModel, "kv_append",
                        "expected a cache of F32, F16 or Q8_0, found " + std::string(dtype_name(type)));
    }
}

void append(Recorder& recorder, const RowsView& x, std::byte* cache, DType type) {
    const AppendShader shader = append_shader(type);
    if (x.n_cols % shader.item != 0)
        throw Error(
            ErrorCode::kUnsupportedModel, "kv_append",
            "expected rows of a multiple of " + std::to_string(shader.item) + ", found " + std::to_string(x.n_cols));
    struct {
        std::uint64_t step, x, cache;
        std::uint32_t n_cols, row_bytes;
    } const push{recorder.params(), address_of(x.data), address_of(cache), x.n_cols,
                 static_cast<std::uint32_t>(row_bytes(type, x.n_cols))};
    const std::uint32_t n_items = x.n_cols / shader.item;
    recorder.dispatch(Kernel(shader.name), push,
                      {fixed(groups_of(n_items, kGroup)), per_row(RowSet::kTokens), fixed(1)});
}

void copy_pages(Recorder& recorder, std::byte* cache, std::uint32_t row_bytes) {
    constexpr std::uint32_t kGroups = 16;
    struct {
        std::uint64_t step, cache;
        std::uint32_t row_bytes;
    } const push{recorder.params(), address_of(cache), row_bytes};
    recorder.dispatch(Kernel("copy_pages"), push, {fixed(kGroups), per_count(StepCount::kPageCopies), fixed(1)});
}

}  // namespace

void lower(Recorder& recorder, const QkNormRopeArgs& args) {
    const std::uint32_t n_head = args.q.n_cols / args.head_dim;
    const std::uint32_t n_head_kv = args.k.n_cols / args.head_dim;
    struct {
        std::uint64_t step, q, k, q_norm, k_norm;
        std::uint32_t n_head, n_head_kv, head_dim;
        float eps;
    } const push{recorder.params(),
                 address_of(args.q.data),
                 address_of(args.k.data),
                 address_of(args.q_norm),
                 address_of(args.k_norm),
                 n_head,
                 n_head_kv,
                 args.head_dim,
                 args.eps};
    recorder.dispatch(Kernel("qk_norm_rope"), push, {fixed(n_head + n_head_kv), per_row(RowSet::kTokens), fixed(1)});
}

void lower(Recorder& recorder, const KvAppendArgs& args) {
    if (recorder.step_class() == StepClass::kMany) {  // others copy none
        copy_pages(recorder, args.cache.k, static_cast<std::uint32_t>(row_bytes(args.cache.k_type, args.k.n_cols)));
        copy_pages(recorder, args.cache.v, static_cast<std::uint32_t>(row_bytes(args.cache.v_type, args.v.n_cols)));
        recorder.barrier();
    }
    append(recorder, args.k, args.cache.k, args.cache.k_type);
    append(recorder, args.v, args.cache.v, args.cache.v_type);
}

}  // namespace lfm::vulkan
