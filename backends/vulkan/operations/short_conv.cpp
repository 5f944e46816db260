// The short convolution: one dispatch.
#include "backends/vulkan/operations/operations.h"

namespace lfm::vulkan {
namespace {

constexpr std::uint32_t kGroup = 64;  // local_size_x of the shader

}  // namespace

void lower(Recorder& recorder, const ShortConvArgs& args) {
    struct {
        std::uint64_t step, bcx, taps, ring, out;
        std::uint32_t n_embd, l_cache, n_slots;
    } const push{recorder.params(),         address_of(args.bcx.data), address_of(args.taps), address_of(args.ring),
                 address_of(args.out.data), args.out.n_cols,           args.l_cache,          args.n_slots};
    recorder.dispatch(Kernel("short_conv"), push,
                      {fixed(groups_of(args.out.n_cols, kGroup)), per_row(RowSet::kTokens), fixed(1)});
}

}  // namespace lfm::vulkan
