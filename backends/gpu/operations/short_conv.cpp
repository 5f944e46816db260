// The short convolution. For one token its result is also written quantised, where the next matrix reads it so.
#include "backends/gpu/kernels/short_conv.h"
#include "backends/gpu/operations/matmul.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

constexpr std::uint32_t kRun = 8;  // tokens that a thread takes

}  // namespace

/// For the quantised form of one row.
void reserve(ScratchSizes& sizes, const ShortConvArgs& args) {
    reserve_quantised(sizes, kHiddenAreas, 1, args.out.n_cols);
}

void lower(Recorder& recorder, const ShortConvArgs& args) {
    if (args.l_cache == 0)
        throw Error(ErrorCode::kUnsupportedModel, "short_conv", "expected at least one tap, found none");
    const bool is_one = recorder.step_class() == StepClass::kOne;
    const ShortConvPush push{.step = recorder.step(),
                             .bcx = args.bcx.data,
                             .taps = args.taps,
                             .ring = args.ring,
                             .out = args.out.data,
                             .to = is_one ? quantised_output(recorder, args.out) : QuantisedRows{},
                             .n_embd = args.out.n_cols,
                             .l_cache = args.l_cache,
                             .n_slots = args.n_slots,
                             .n_run = kRun};
    const Axis channels = fixed(groups_of(push.n_embd, kConvChannels));
    if (is_one)
        recorder.launch(short_conv_one_kernel(), push, {channels, fixed(1), fixed(1)});
    else
        recorder.launch(short_conv_many_kernel(), push, {channels, per_row(RowSet::kTokens, push.n_run), fixed(1)});
}

}  // namespace lfm::gpu
