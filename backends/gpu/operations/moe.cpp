// Operations of a mixture-of-experts layer: route and expert_ffn.
#include <algorithm>
#include <string>

#include "backends/gpu/kernels/experts.h"
#include "backends/gpu/kernels/route.h"
#include "backends/gpu/operations/matmul.h"
#include "memory/error.h"

namespace lfm::gpu {
namespace {

constexpr std::uint32_t kTilesInARow = 4;  // tiles of tokens that a group takes when all choose one expert

enum ExpertMatrix : std::uint32_t { kGateMatrix, kUpMatrix, kDownMatrix };

/// One expert_ffn, with what its launches share.
class ExpertFfn {
public:
    ExpertFfn(Recorder& recorder, const ExpertFfnArgs& args)
        : recorder_(recorder), args_(args), n_embd_(args.x.n_cols), n_expert_(args.experts->n_expert()) {
        for (const DType type : {args.gate_type, args.up_type})
            check_weight("expert_ffn", {nullptr, type, args.n_ff, n_embd_, row_bytes(type, n_embd_)});
        check_weight("expert_ffn", {nullptr, args.down_type, n_embd_, args.n_ff, row_bytes(args.down_type, args.n_ff)});
    }

    /// Whether the kernels of one token can do it.
    bool can_be_vectors() const {
        return recorder_.traits().activations == ActivationKind::kQuantised && args_.gate_type == args_.up_type &&
               n_embd_ <= kMostVectorInputs && args_.n_expert_used <= kMostVectorChoices &&
               std::uint64_t{args_.n_expert_used} * args_.n_ff <= kMostVectorInputs;
    }

    void one_token() {
        gate_up_vector();
        down_vector();
    }

    void many_tokens() {
        sort();
        const bool quantises = meets_quantised(recorder_, args_.gate_type) || meets_quantised(recorder_, args_.up_type);
        const Input x = quantises ? quantise(recorder_, args_.x, RowSet::kTokens) : input_of(recorder_, args_.x);
        multiply_tiles(args_.gate_type, kGateMatrix, x);
        multiply_tiles(args_.up_type, kUpMatrix, x);
        gate();
        multiply_tiles(args_.down_type, kDownMatrix, input_at(recorder_, hidden(), kHiddenAreas));
        combine();
    }

private:
    ExpertSource source() const {
        const StagedExperts& staged = args_.staged;
        return {.table = recorder_.expert_table(args_.experts) + std::size_t{args_.layer.value} * n_expert_,
                .slot_of = staged.slot_of,
                .slots = staged.slots,
                .slot_bytes = staged.slot_bytes,
                .up_offset = staged.up_offset,
                .down_offset = staged.down_offset,
                .n_expert = n_expert_,
                .set = args_.set == ExpertSet::kHeld ? 0u : 1u};
    }

    float* hidden() const { return recorder_.scratch<float>(ScratchUse::kGate); }
    ExpertEntry* found() const { return recorder_.scratch<ExpertEntry>(ScratchUse::kPairCounts); }
    std::uint32_t* begin() const { return reinterpret_cast<std::uint32_t*>(found() + n_expert_); }
    std::uint32_t* token_of() const { return recorder_.scratch<std::uint32_t>(ScratchUse::kPairs); }
    std::uint32_t* row_of() const { return token_of() + std::size_t{recorder_.limits().n_batch} * args_.n_expert_used; }
    static std::uint32_t bytes_of_row(DType type, std::uint32_t n) {
        return static_cast<std::uint32_t>(row_bytes(type, n));
    }

    void gate_up_vector() {
        recorder_.claim(kHiddenAreas);
        const Kernel kernel = kernels_for("expert_ffn", args_.gate_type).gate_up;
        const VectorShape shape =
            vector_shape(recorder_, kernel, args_.gate_type, args_.n_ff * args_.n_expert_used, n_embd_, 1);
        const GateUpPush push{.source = source(),
                              .input = input_of(recorder_, args_.x),
                              .ids = args_.choice.ids,
                              .hidden = hidden(),
                              .to = meets_quantised(recorder_, args_.down_type)
                                        ? quantised_rows(recorder_, kHiddenAreas)
                                        : QuantisedRows{},
                              .tickets = recorder_.tickets(),
                              .row_bytes = bytes_of_row(args_.gate_type, n_embd_),
                              .n_in = n_embd_,
                              .n_ff = args_.n_ff,
                              .sets_per_row = shape.sets_per_row};
        recorder_.launch(kernel, push,
                         {fixed(groups_of(shape.n_groups, args_.n_expert_used)), fixed(args_.n_expert_used), fixed(1)});
    }

    void down_vector() {
        const Kernel kernel = kernels_for("expert_ffn", args_.down_type).down;
        const VectorShape shape =
            vector_shape(recorder_, kernel, args_.down_type, n_embd_, args_.n_ff * args_.n_expert_used, kVectorRows);
        const DownPush push{.source = source(),
                            .hidden = meets_quantised(recorder_, args_.down_type)
                                          ? input_at(recorder_, hidden(), kHiddenAreas)
                                          : Input{hidden(), nullptr, nullptr, nullptr},
                            .ids = args_.choice.ids,
                            .weights = args_.choice.weights,
                            .out = args_.out.data,
                            .row_bytes = bytes_of_row(args_.down_type, args_.n_ff),
                            .n_ff = args_.n_ff,
                            .n_out = n_embd_,
                            .n_used = args_.n_expert_used,
                            .sets_per_row = shape.sets_per_row};
        recorder_.launch(kernel, push, {fixed(shape.n_groups), fixed(1), fixed(1)});
    }

    void sort() {
        if (n_expert_ > kMostSortedExperts)
            throw Error(ErrorCode::kUnsupportedModel, "expert_ffn",
                        "expected at most " + std::to_string(kMostSortedExperts) + " experts a layer, found " +
                            std::to_string(n_expert_));
        const SortPush push{.step = recorder_.step(),
                            .source = source(),
                            .ids = args_.choice.ids,
                            .found = found(),
                            .begin = begin(),
                            .token_of = token_of(),
                            .row_of = row_of(),
                            .n_used = args_.n_expert_used};
        recorder_.launch(sort_kernel(), push, {fixed(1), fixed(1), fixed(1)});
    }

    void multiply_tiles(DType type, ExpertMatrix matrix, const Input& input) {
        const TileKernel tile = tile_kernel(recorder_, "expert_ffn", type);
        const bool is_down = matrix == kDownMatrix;
        const std::uint32_t n_in = is_down ? args_.n_ff : n_embd_, n_out = is_down ? n_embd_ : args_.n_ff;
        const ScratchUse out = is_down               ? ScratchUse::kExpertOut
                               : matrix == kUpMatrix ? ScratchUse::kUp
                                                     : ScratchUse::kGate;
        const TilePush push{.step = recorder_.step(),
                            .input = input,
                            .experts = found(),
                            .begin = begin(),
                            .token_of = is_down ? nullptr : token_of(),
                            .out = recorder_.scratch<float>(out),
                            .row_bytes = bytes_of_row(type, n_in),
                            .n_in = n_in,
                            .n_out = n_out,
                            .matrix = matrix};
        recorder_.launch(tile.kernel, push,
                         {fixed(groups_of(n_out, tile.rows)), fixed(n_expert_),
                          per_row(RowSet::kTokens, tile.tokens * kTilesInARow)});
    }

    void gate() {
        recorder_.claim(kHiddenAreas);
        const GatePush push{.n_rows = begin() + n_expert_,
                            .gate = hidden(),
                            .up = recorder_.scratch<float>(ScratchUse::kUp),
                            .to = quantised_rows(recorder_, kHiddenAreas),
                            .n_cols = args_.n_ff};
        recorder_.launch(meets_quantised(recorder_, args_.down_type) ? gate_quantise_kernel() : gate_kernel(), push,
                         {per_row(RowSet::kTokens, 1, args_.n_expert_used),
                          fixed(groups_of(args_.n_ff, kQuantiseColumns)), fixed(1)});
    }

    void combine() {
        const CombinePush push{.step = recorder_.step(),
                               .row_of = row_of(),
                               .weights = args_.choice.weights,
                               .expert_out = recorder_.scratch<float>(ScratchUse::kExpertOut),
                               .out = args_.out.data,
                               .n_used = args_.n_expert_used,
                               .n_out = n_embd_};
        recorder_.launch(combine_kernel(), push,
                         {per_row(RowSet::kTokens), fixed(groups_of(n_embd_, kCombineThreads)), fixed(1)});
    }

    Recorder& recorder_;
    const ExpertFfnArgs& args_;
    std::uint32_t n_embd_, n_expert_;
};

MatmulArgs router_matmul(const RouteArgs& args, float* logits) {
    MatmulArgs matmul{.x = args.x, .n_outputs = 1};
    matmul.outputs[0] = {args.router, {logits, args.router.n_out}};
    return matmul;
}

/// Product and choice in one launch.
void route_one(Recorder& recorder, const RouteArgs& args, const RoutePush& choice) {
    const WeightView& router = args.router;
    check_weight("route", router);
    if (router.n_in != args.x.n_cols)
        throw Error(ErrorCode::kUnsupportedModel, "route",
                    "expected rows of " + std::to_string(args.x.n_cols) + ", found " + std::to_string(router.n_in));
    const Kernel kernel = kernels_for("route", router.type).route;
    const VectorShape shape = vector_shape(recorder, kernel, router.type, router.n_out, router.n_in, kVectorRows);
    const RouteVectorPush push{.route = choice,
                               .logits = recorder.scratch<float>(ScratchUse::kRouterLogits),
                               .x = args.x.data,
                               .router = router.data,
                               .ticket = recorder.tickets(),
                               .row_bytes = static_cast<std::uint32_t>(router.row_bytes),
                               .n_in = router.n_in,
                               .sets_per_row = shape.sets_per_row};
    recorder.launch(kernel, push, {fixed(shape.n_groups), fixed(1), fixed(1)});
}

}  // namespace

void reserve(ScratchSizes& sizes, const RouteArgs& args) {
    reserve(sizes, router_matmul(args, nullptr));
    sizes.need(ScratchUse::kRouterLogits, sizeof(float) * sizes.limits().n_batch * args.router.n_out);
}

void reserve(ScratchSizes& sizes, const ExpertFfnArgs& args) {
    const std::size_t n_batch = sizes.limits().n_batch, n_pairs = n_batch * args.n_expert_used;
    const std::size_t n_expert = args.experts->n_expert();
    if (is_quantised(args.gate_type) || is_quantised(args.up_type))
        reserve_quantised(sizes, kInputAreas, n_batch, args.x.n_cols);
    if (is_quantised(args.down_type)) reserve_quantised(sizes, kHiddenAreas, n_pairs, args.n_ff);
    sizes.need(ScratchUse::kPairs, 2 * sizeof(std::uint32_t) * n_pairs);
    sizes.need(ScratchUse::kPairCounts, sizeof(ExpertEntry) * n_expert + sizeof(std::uint32_t) * (n_expert + 1));
    sizes.need(ScratchUse::kGate, sizeof(float) * n_pairs * args.n_ff);
    sizes.need(ScratchUse::kUp, sizeof(float) * n_pairs * args.n_ff);
    sizes.need(ScratchUse::kExpertOut, sizeof(float) * n_pairs * args.x.n_cols);
}

void lower(Recorder& recorder, const MergedRoute& merged) {
    const RouteArgs& args = merged.route;
    const std::uint32_t n_expert = args.router.n_out;
    if (args.n_expert_used == 0 || args.n_expert_used > n_expert)
        throw Error(ErrorCode::kUnsupportedModel, "route",
                    "expected 1 to " + std::to_string(n_expert) + " experts a token, found " +
                        std::to_string(args.n_expert_used));
    if (n_expert > kMostExperts || args.n_expert_used > kMostChosen)
        throw Error(ErrorCode::kUnsupportedModel, "route",
                    "expected at most " + std::to_string(kMostChosen) + " of " + std::to_string(kMostExperts) +
                        " experts a token, found " + std::to_string(args.n_expert_used) + " of " +
                        std::to_string(n_expert));
    float* logits = recorder.scratch<float>(ScratchUse::kRouterLogits);
    const RoutePush push{.step = recorder.step(),
                         .logits = logits,
                         .bias = args.bias,
                         .ids = args.out.ids,
                         .weights = args.out.weights,
                         .ids_too = merged.out_too.ids,
                         .weights_too = merged.out_too.weights,
                         .scale = args.scale,
                         .n_expert = n_expert,
                         .n_expert_used = args.n_expert_used,
                         .moe_layer = args.moe_layer};
    if (recorder.step_class() == StepClass::kOne && !is_quantised(args.router.type) &&
        recorder.traits().activations == ActivationKind::kQuantised) {
        route_one(recorder, args, push);
        return;
    }
    // Rounded, scores that lie close together would change places.
    multiply(recorder, router_matmul(args, logits), Rounding::kNone);
    recorder.launch(route_kernel(), push, {per_row(RowSet::kTokens), fixed(1), fixed(1)});
}

void lower(Recorder& recorder, const ExpertFfnArgs& args) {
    if (args.n_expert_used == 0 || args.experts->n_expert() == 0)
        throw Error(ErrorCode::kUnsupportedModel, "expert_ffn", "expected experts, found none");
    ExpertFfn ffn(recorder, args);
    if (recorder.step_class() == StepClass::kOne && ffn.can_be_vectors())
        ffn.one_token();
    else
        ffn.many_tokens();
}

}  // namespace lfm::gpu
