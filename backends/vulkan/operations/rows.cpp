// Operations that work row by row: rms_norm, swiglu, add, copy.
#include "backends/vulkan/operations/operations.h"
#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::uint32_t kGroup = 256;  // local_size_x of the shaders

struct ElementsPush {
    std::uint64_t step, a, b, out;
    std::uint32_t n_cols;
};

/// Elements of a row along x, rows along y.
Grid by_elements(std::uint32_t n_cols, RowSet rows) {
    return {fixed(groups_of(n_cols, kGroup)), per_row(rows), fixed(1)};
}

struct CopyPush {
    std::uint64_t step, from, to;
    std::uint32_t n_cols, row_set;
};

}  // namespace

void lower(Recorder& recorder, const RmsNormArgs& args) {
    struct {
        std::uint64_t step, x, weight, out;
        std::uint32_t n_cols;
        float eps;
        std::uint32_t row_set;
    } const push{recorder.params(),
                 address_of(args.x.data),
                 address_of(args.weight),
                 address_of(args.out.data),
                 args.x.n_cols,
                 args.eps,
                 static_cast<std::uint32_t>(args.rows)};
    recorder.dispatch(Kernel("rms_norm"), push, {per_row(args.rows), fixed(1), fixed(1)});
}

void lower(Recorder& recorder, const SwigluArgs& args) {
    const ElementsPush push{recorder.params(), address_of(args.gate.data), address_of(args.up.data),
                            address_of(args.out.data), args.gate.n_cols};
    recorder.dispatch(Kernel("swiglu"), push, by_elements(args.gate.n_cols, RowSet::kTokens));
}

void lower(Recorder& recorder, const AddArgs& args) {
    const ElementsPush push{recorder.params(), address_of(args.a.data), address_of(args.b.data),
                            address_of(args.out.data), args.a.n_cols};
    recorder.dispatch(Kernel("add"), push, by_elements(args.a.n_cols, RowSet::kTokens));
}

void lower(Recorder& recorder, const CopyArgs& args) {
    for (const RowsCopy& part : std::span(args.parts).first(args.n_parts)) {
        const CopyPush push{recorder.params(), address_of(part.x.data), address_of(part.out.data), part.x.n_cols,
                            static_cast<std::uint32_t>(args.rows)};
        recorder.dispatch(Kernel("copy_rows"), push, by_elements(part.x.n_cols, args.rows));
    }
}

}  // namespace lfm::vulkan
