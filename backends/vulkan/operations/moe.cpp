// Operations of a mixture-of-experts layer: route and expert_ffn.
#include <algorithm>
#include <string>

#include "backends/vulkan/operations/matmul.h"
#include "memory/error.h"

namespace lfm::vulkan {
namespace {

constexpr std::uint32_t kVectorRows = 2;     // weight rows of a group, with one token
constexpr std::uint32_t kExpertTokens = 32;  // kTileTokens of the expert shaders
constexpr std::uint32_t kTilesInARow = 4;    // tiles of tokens that a group takes when all choose one expert
constexpr std::uint64_t kEntryBytes = needs::kMirroredExpertBytes;  // ExpertEntry of expert_table.glsl
constexpr std::uint32_t kCombineColumns = 64;                       // local_size_x of expert_combine.comp

std::uint32_t id_of(DType type) { return static_cast<std::uint32_t>(type); }

std::size_t bytes_of_row(DType type, std::uint32_t n) { return row_bytes(type, n); }

void require_shared_memory(const Recorder& recorder, std::string_view operation, std::uint64_t bytes) {
    if (bytes > recorder.traits().shared_memory)
        throw Error(ErrorCode::kUnsupportedModel, operation,
                    "expected at most " + std::to_string(recorder.traits().shared_memory) +
                        " bytes of shared memory for the experts, found " + std::to_string(bytes));
}

/// As in shaders/expert_find.glsl.
struct ExpertSource {
    std::uint64_t table = 0, slot_of = 0, slots = 0, slot_bytes = 0, up_offset = 0, down_offset = 0;
    std::uint32_t n_expert = 0, set = 0;
};

/// One expert_ffn, with what its dispatches share.
class ExpertFfn {
public:
    ExpertFfn(Recorder& recorder, const ExpertFfnArgs& args)
        : recorder_(recorder),
          args_(args),
          n_embd_(args.x.n_cols),
          n_expert_(args.experts->n_expert()),
          found_(recorder.scratch(ScratchUse::kPairCounts)),
          begin_(found_ + kEntryBytes * std::max(n_expert_, args.n_expert_used)),
          token_of_(recorder.scratch(ScratchUse::kPairs)),
          row_of_(token_of_ + 4 * std::uint64_t{recorder.limits().n_batch} * args.n_expert_used) {
        for (const DType type : {args.gate_type, args.up_type})
            check_weight("expert_ffn", {nullptr, type, args.n_ff, n_embd_, bytes_of_row(type, n_embd_)});
        check_weight("expert_ffn",
                     {nullptr, args.down_type, n_embd_, args.n_ff, bytes_of_row(args.down_type, args.n_ff)});
    }

    void one_token() {
        find();
        quantise_input();
        recorder_.barrier();
        gate_up_vector();
        recorder_.barrier();
        quantise_hidden();
        down_vector();
    }

    void many_tokens() {
        sort();
        quantise_input();
        recorder_.barrier();
        gate_up_tiles();
        recorder_.barrier();
        quantise_hidden();
        down_tiles();
        recorder_.barrier();
        combine();
    }

private:
    ExpertSource source() const {
        const StagedExperts& staged = args_.staged;
        return {.table = recorder_.expert_table(args_.experts) + kEntryBytes * args_.layer.value * n_expert_,
                .slot_of = address_of(staged.slot_of),
                .slots = address_of(staged.slots),
                .slot_bytes = staged.slot_bytes,
                .up_offset = staged.up_offset,
                .down_offset = staged.down_offset,
                .n_expert = n_expert_,
                .set = static_cast<std::uint32_t>(args_.set)};
    }
    QuantiseRows input() const { return {.x = address_of(args_.x.data), .n_cols = n_embd_}; }
    QuantiseRows hidden() const {
        return {.x = recorder_.scratch(ScratchUse::kGate),
                .n_cols = args_.n_ff,
                .rows_each = args_.n_expert_used,
                .areas = kHiddenAreas};
    }
    Axis token_tiles() const { return per_row(RowSet::kTokens, kExpertTokens * kTilesInARow); }

    void find() {
        struct {
            ExpertSource source;
            std::uint64_t ids, found;
            std::uint32_t n_used;
        } const push{source(), address_of(args_.choice.ids), found_, args_.n_expert_used};
        recorder_.dispatch(Kernel("expert_find"), push, {});
    }

    void sort() {
        require_shared_memory(recorder_, "expert_ffn", 4 * std::uint64_t{n_expert_});
        struct {
            std::uint64_t step;
            ExpertSource source;
            std::uint64_t ids, found, begin, token_of, row_of;
            std::uint32_t n_used;
        } const push{recorder_.params(), source(), address_of(args_.choice.ids), found_, begin_,
                     token_of_,          row_of_,  args_.n_expert_used};
        recorder_.dispatch(Kernel("expert_sort", {n_expert_}), push, {});
    }

    void quantise_input() {
        if (is_quantised(args_.gate_type) || is_quantised(args_.up_type)) quantise(recorder_, input());
    }
    void quantise_hidden() {
        if (!is_quantised(args_.down_type)) return;
        quantise(recorder_, hidden());
        recorder_.barrier();
    }

    void gate_up_vector() {
        struct {
            InputAddresses input;
            std::uint64_t found, hidden;
            std::uint32_t gate_row_bytes, up_row_bytes, n_in, n_ff;
        } const push{input_addresses(recorder_, input()),  found_,  hidden().x, row_bytes_of(args_.gate_type, n_embd_),
                     row_bytes_of(args_.up_type, n_embd_), n_embd_, args_.n_ff};
        recorder_.dispatch(Kernel("expert_gate_up",
                                  {id_of(args_.gate_type), id_of(args_.up_type), kVectorRows, vector_threads(n_embd_)}),
                           push, {vector_groups(args_.n_ff), fixed(args_.n_expert_used), fixed(1)});
    }

    void down_vector() {
        require_shared_memory(recorder_, "expert_ffn", 12 * std::uint64_t{args_.n_expert_used} + 1024);
        struct {
            InputAddresses hidden;
            std::uint64_t found, weights, out;
            std::uint32_t row_bytes, n_ff, n_out;
        } const push{input_addresses(recorder_, hidden()),
                     found_,
                     address_of(args_.choice.weights),
                     address_of(args_.out.data),
                     row_bytes_of(args_.down_type, args_.n_ff),
                     args_.n_ff,
                     n_embd_};
        recorder_.dispatch(Kernel("expert_down", {id_of(args_.down_type), args_.n_expert_used, kVectorRows,
                                                  vector_threads(args_.n_expert_used * args_.n_ff)}),
                           push, {vector_groups(n_embd_), fixed(1), fixed(1)});
    }

    void gate_up_tiles() {
        struct {
            InputAddresses input;
            std::uint64_t found, begin, token_of, hidden;
            std::uint32_t gate_row_bytes, up_row_bytes, n_in, n_ff;
        } const push{input_addresses(recorder_, input()),
                     found_,
                     begin_,
                     token_of_,
                     hidden().x,
                     row_bytes_of(args_.gate_type, n_embd_),
                     row_bytes_of(args_.up_type, n_embd_),
                     n_embd_,
                     args_.n_ff};
        const std::uint32_t n_inputs = args_.gate_type == args_.up_type ? 1 : 2;
        recorder_.dispatch(Kernel("expert_gate_up_tile", {id_of(args_.gate_type), id_of(args_.up_type), n_inputs}),
                           push, {fixed(groups_of(args_.n_ff, kTileRows)), fixed(n_expert_), token_tiles()});
    }

    void down_tiles() {
        struct {
            InputAddresses hidden;
            std::uint64_t found, begin, out;
            std::uint32_t row_bytes, n_ff, n_out;
        } const push{
            input_addresses(recorder_, hidden()),      found_,     begin_, recorder_.scratch(ScratchUse::kExpertOut),
            row_bytes_of(args_.down_type, args_.n_ff), args_.n_ff, n_embd_};
        recorder_.dispatch(Kernel("expert_down_tile", {id_of(args_.down_type)}), push,
                           {fixed(groups_of(n_embd_, kTileRows)), fixed(n_expert_), token_tiles()});
    }

    void combine() {
        struct {
            std::uint64_t step, row_of, weights, expert_out, out;
            std::uint32_t n_used, n_out;
        } const push{recorder_.params(),
                     row_of_,
                     address_of(args_.choice.weights),
                     recorder_.scratch(ScratchUse::kExpertOut),
                     address_of(args_.out.data),
                     args_.n_expert_used,
                     n_embd_};
        recorder_.dispatch(Kernel("expert_combine"), push,
                           {fixed(groups_of(n_embd_, kCombineColumns)), per_row(RowSet::kTokens), fixed(1)});
    }

    static std::uint32_t row_bytes_of(DType type, std::uint32_t n) {
        return static_cast<std::uint32_t>(bytes_of_row(type, n));
    }
    static Axis vector_groups(std::uint32_t n_out) {
        return fixed(std::min(groups_of(n_out, kVectorRows), kMaxGroups));
    }

    Recorder& recorder_;
    const ExpertFfnArgs& args_;
    std::uint32_t n_embd_;
    std::uint32_t n_expert_;
    std::uint64_t found_, begin_;      // where each expert's matrices are, and where its sorted rows begin
    std::uint64_t token_of_, row_of_;  // the token of each sorted row; the sorted row of each pair (token, choice)
};

MatmulArgs router_matmul(const RouteArgs& args, std::uint64_t logits) {
    MatmulArgs matmul{.x = args.x, .n_outputs = 1};
    matmul.outputs[0] = {args.router, {reinterpret_cast<float*>(logits), args.router.n_out}};
    return matmul;
}

}  // namespace

void reserve(ScratchSizes& sizes, const RouteArgs& args) {
    reserve(sizes, router_matmul(args, 0));
    sizes.need(ScratchUse::kRouterLogits, sizeof(float) * sizes.limits().n_batch * args.router.n_out);
}

void reserve(ScratchSizes& sizes, const ExpertFfnArgs& args) {
    const std::size_t n_batch = sizes.limits().n_batch, n_pairs = n_batch * args.n_expert_used;
    const std::size_t n_expert = args.experts->n_expert();
    if (is_quantised(args.gate_type) || is_quantised(args.up_type))
        reserve_quantised(sizes, kInputAreas, n_batch, args.x.n_cols);
    if (is_quantised(args.down_type)) reserve_quantised(sizes, kHiddenAreas, n_pairs, args.n_ff);
    sizes.need(ScratchUse::kPairs, 2 * sizeof(std::uint32_t) * n_pairs);
    sizes.need(ScratchUse::kPairCounts,
               kEntryBytes * std::max<std::size_t>(n_expert, args.n_expert_used) + 4 * (n_expert + 1));
    sizes.need(ScratchUse::kGate, sizeof(float) * n_pairs * args.n_ff);
    sizes.need(ScratchUse::kExpertOut, sizeof(float) * n_pairs * args.x.n_cols);
}

void lower(Recorder& recorder, const RouteArgs& args) {
    const std::uint32_t n_expert = args.router.n_out;
    if (args.n_expert_used == 0 || args.n_expert_used > n_expert)
        throw Error(ErrorCode::kUnsupportedModel, "route",
                    "expected 1 to " + std::to_string(n_expert) + " experts a token, found " +
                        std::to_string(args.n_expert_used));
    require_shared_memory(recorder, "route", 8 * std::uint64_t{n_expert} + 4 * (args.n_expert_used + 1));
    const std::uint64_t logits = recorder.scratch(ScratchUse::kRouterLogits);
    lower(recorder, router_matmul(args, logits));
    recorder.barrier();
    struct {
        std::uint64_t step, logits, bias, ids, weights;
        float scale;
        std::uint32_t moe_layer;
    } const push{
        recorder.params(), logits,        address_of(args.bias), address_of(args.out.ids), address_of(args.out.weights),
        args.scale,        args.moe_layer};
    recorder.dispatch(Kernel("route", {n_expert, args.n_expert_used}), push,
                      {per_row(RowSet::kTokens), fixed(1), fixed(1)});
}

void lower(Recorder& recorder, const ExpertFfnArgs& args) {
    if (args.n_expert_used == 0 || args.experts->n_expert() == 0)
        throw Error(ErrorCode::kUnsupportedModel, "expert_ffn", "expected experts, found none");
    ExpertFfn ffn(recorder, args);
    if (recorder.step_class() == StepClass::kOne)
        ffn.one_token();
    else
        ffn.many_tokens();
}

}  // namespace lfm::vulkan
