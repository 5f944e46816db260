// The short convolution: one dispatch for one token; for several, one for the rows and one for the state after them.
#include "backends/vulkan/operations/operations.h"

namespace lfm::vulkan {
namespace {

constexpr std::uint32_t kGroup = 64;  // local_size_x of the shaders

}  // namespace

void lower(Recorder& recorder, const ShortConvArgs& args) {
    struct {
        std::uint64_t step, bcx, taps, state, out;
        std::uint32_t n_embd, l_cache;
    } const push{recorder.params(),         address_of(args.bcx.data), address_of(args.taps), address_of(args.state),
                 address_of(args.out.data), args.out.n_cols,           args.l_cache};
    const Axis channels = fixed(groups_of(args.out.n_cols, kGroup));
    if (recorder.step_class() == StepClass::kOne) {
        recorder.dispatch(Kernel("short_conv_one"), push, {channels, fixed(1), fixed(1)});
        return;
    }
    recorder.dispatch(Kernel("short_conv_many"), push, {channels, per_row(RowSet::kTokens), fixed(1)});
    recorder.barrier();
    recorder.dispatch(Kernel("short_conv_state"), push, {channels, fixed(1), fixed(1)});
}

}  // namespace lfm::vulkan
