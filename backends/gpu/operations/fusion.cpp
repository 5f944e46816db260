#include "backends/gpu/operations/fusion.h"

#include <array>
#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "backends/gpu/extents.h"
#include "backends/gpu/operations/matmul.h"

namespace lfm::gpu {
namespace {

/// Turns operations into launches, in order; the launch of one may already do some of those after it.
class Lowering {
public:
    Lowering(Recorder& recorder, std::span<const Operation> operations, std::span<const Meeting> meetings)
        : recorder_(recorder),
          operations_(operations),
          meetings_(meetings),
          done_(operations.size()),
          extents_{recorder.step_class() == StepClass::kOne ? 1 : recorder.limits().n_batch, recorder.limits().n_ctx} {}

    std::vector<std::uint32_t> run() {
        std::vector<std::uint32_t> n_before;
        for (at_ = 0; at_ <= operations_.size(); ++at_) {
            while (n_before.size() < meetings_.size() && meetings_[n_before.size()].before <= at_)
                n_before.push_back(recorder_.n_launches());
            if (at_ < operations_.size() && !is_done(at_))
                std::visit([this](const auto& args) { lower_one(args); }, operations_[at_]);
        }
        return n_before;
    }

private:
    /// Which parts of an operation are done: of a copy some, of the others all or none.
    struct Done {
        bool all = false;
        std::array<bool, 4> parts{};
    };
    bool is_done(std::size_t i) const { return done_[i].all; }

    /// The first operation from i on that is left to do.
    std::size_t next(std::size_t i) const {
        while (i < operations_.size() && is_done(i)) ++i;
        return i;
    }
    template <typename Args>
    const Args* get(std::size_t i) const {
        return i < operations_.size() ? std::get_if<Args>(&operations_[i]) : nullptr;
    }
    /// The meetings between two operations.
    Meeting between(std::size_t one, std::size_t other) const {
        Meeting all{.before = other};
        for (const Meeting& each : meetings_) {
            if (each.before <= one || each.before > other) continue;
            all.tells |= each.tells;
            all.waits |= each.waits;
        }
        return all;
    }
    bool is_apart(std::size_t one, std::size_t other) const {
        const Meeting all = between(one, other);
        return all.tells || all.waits;
    }
    /// The next operation that is left to do, when it is of this kind and nobody is met before it; else null. `place`
    /// is its index.
    template <typename Args>
    const Args* follows(std::size_t i, std::size_t& place) const {
        place = next(i + 1);
        const Args* args = get<Args>(place);
        return args != nullptr && !is_apart(i, place) ? args : nullptr;
    }

    template <typename Args>
    void lower_one(const Args& args) {
        begin(at_, at_);
        lower(recorder_, args);
    }
    void lower_one(const RmsNormArgs& args) {
        SumNorm merged{.norm = args};
        if (const AddArgs* sunk = std::exchange(sunk_, nullptr); sunk != nullptr) {
            merged.added[merged.n_added++] = sunk->b.data;
            merged.sum = sunk->out.data;
        }
        lower_norm(merged, at_);
    }
    void lower_one(const MatmulArgs& args) {
        std::size_t i = 0;
        if (const auto* swiglu = follows<SwigluArgs>(at_, i); swiglu != nullptr && can_merge(recorder_, args, *swiglu))
            return lower_two(args, *swiglu, i);
        if (const auto* conv = follows<ShortConvArgs>(at_, i); conv != nullptr && can_merge(recorder_, args, *conv))
            return lower_two(args, *conv, i);
        begin(at_, at_);
        lower(recorder_, args);
    }
    void lower_one(const QkNormRopeArgs& args) {
        std::size_t i = 0;
        if (const auto* append = follows<KvAppendArgs>(at_, i); append != nullptr && can_merge(args, *append))
            return lower_two(args, *append, i);
        begin(at_, at_);
        lower(recorder_, args);
    }
    void lower_one(const RouteArgs& args) {
        begin(at_, at_);
        const std::uint32_t n = args.n_expert_used;
        lower(recorder_,
              MergedRoute{.route = args,
                          .out_too = {reinterpret_cast<std::int32_t*>(
                                          take_copy({reinterpret_cast<float*>(args.out.ids), n}, RowSet::kTokens, at_)),
                                      take_copy({args.out.weights, n}, RowSet::kTokens, at_)}});
    }
    void lower_one(const AddArgs& args) {
        if (can_sink(args)) {
            forget_written(at_);
            sunk_ = &args;
            return;
        }
        const AddArgs* sunk = std::exchange(sunk_, nullptr);
        if (lower_sums(sunk, args)) return;
        begin(at_, at_);
        if (sunk != nullptr) lower(recorder_, *sunk);
        lower(recorder_, args);
    }
    void lower_one(const CopyArgs& args) {
        std::size_t place = 0;
        if (const auto* norm = follows<RmsNormArgs>(at_, place); norm != nullptr && begins_norm(args, *norm))
            return lower_copied_norm(args, *norm, place);
        CopyArgs left = args;
        left.n_parts = 0;
        for (std::uint32_t i = 0; i < args.n_parts; ++i)
            if (!done_[at_].parts[i]) left.parts[left.n_parts++] = args.parts[i];
        begin(at_, at_);
        lower(recorder_, left);
    }

    template <typename First, typename Second>
    void lower_two(const First& first, const Second& second, std::size_t last) {
        done_[last].all = true;
        begin(at_, last);
        lower(recorder_, first, second);
    }

    /// Whether a copy serves only the norm after it, which overwrites the copied rows. In a step of one token both sets
    /// of rows are the same.
    bool begins_norm(const CopyArgs& copy, const RmsNormArgs& norm) const {
        return recorder_.step_class() == StepClass::kOne && copy.n_parts == 1 && copy.rows == norm.rows &&
               is_same(copy.parts[0].out, norm.x) && is_same(norm.x, norm.out);
    }
    void lower_copied_norm(const CopyArgs& copy, RmsNormArgs norm, std::size_t last) {
        norm.x = copy.parts[0].x;
        done_[last].all = true;
        lower_norm({.norm = norm}, last);
    }

    static bool adds_onto(const AddArgs& args, const RowsView& rows) {
        return is_same(args.a, rows) && is_same(args.out, rows) && args.b.data != rows.data;
    }
    /// Whether a sum can be done after the meeting that follows it, as a part of the sum or norm there.
    bool can_sink(const AddArgs& args) const {
        const std::size_t i = next(at_ + 1);
        const Meeting met = between(at_, i);
        if (sunk_ != nullptr || !adds_onto(args, args.out) || met.tells || !met.waits) return false;
        const AddArgs* sum = get<AddArgs>(i);
        const RmsNormArgs* norm = get<RmsNormArgs>(i);
        return (sum != nullptr && adds_onto(*sum, args.out)) ||
               (norm != nullptr && norm->rows == RowSet::kTokens && is_same(norm->x, args.out));
    }

    /// One or two sums onto the same rows, and their norm, if that is what follows. `sunk` comes before `args`.
    bool lower_sums(const AddArgs* sunk, const AddArgs& args) {
        if (!adds_onto(args, args.out)) return false;
        SumNorm merged{.sum = args.out.data};
        if (sunk != nullptr) merged.added[merged.n_added++] = sunk->b.data;
        merged.added[merged.n_added++] = args.b.data;
        std::size_t last = 0, of_norm = 0;
        const AddArgs* second = merged.n_added < 2 ? follows<AddArgs>(at_, last) : nullptr;
        if (second != nullptr && adds_onto(*second, args.out))
            merged.added[merged.n_added++] = second->b.data;
        else
            last = at_;
        const RmsNormArgs* norm = follows<RmsNormArgs>(last, of_norm);
        if (norm == nullptr || norm->rows != RowSet::kTokens || !is_same(norm->x, args.out)) return false;
        merged.norm = *norm;
        done_[last].all = done_[of_norm].all = true;
        lower_norm(merged, of_norm);
        return true;
    }

    /// Operations at_ … last as one launch.
    void lower_norm(SumNorm merged, std::size_t last) {
        begin(at_, last);
        merged.out_too = take_copy(merged.norm.out, merged.norm.rows, last);
        lower(recorder_, merged);
    }

    /// Where the next copy of `rows` goes, if operation `made_by` can write there too: that copy then counts as done.
    /// Else null.
    float* take_copy(const RowsView& rows, RowSet set, std::size_t made_by) {
        const Extent made = extent_of(rows, extents_.n_rows);
        for (std::size_t i = made_by + 1; i < operations_.size() && !is_apart(made_by, i); ++i) {
            if (const CopyArgs* copy = get<CopyArgs>(i);
                copy != nullptr && !is_done(i) && copy->rows == set && set == RowSet::kTokens) {
                for (std::uint32_t part = 0; part < copy->n_parts; ++part)
                    if (!done_[i].parts[part] && is_same(copy->parts[part].x, rows) &&
                        is_free(copy->parts[part].out, made_by, i))
                        return take_part(i, part);
            }
            if (extents_.writes(operations_[i], made)) return nullptr;
        }
        return nullptr;
    }
    /// Whether nobody touches the rows from operation `first` until before `end`.
    bool is_free(const RowsView& rows, std::size_t first, std::size_t end) const {
        const Extent extent = extent_of(rows, extents_.n_rows);
        for (std::size_t i = first; i < end; ++i)
            if (extents_.reads(operations_[i], extent) || extents_.writes(operations_[i], extent)) return false;
        return true;
    }
    float* take_part(std::size_t i, std::uint32_t part) {
        const auto& copy = std::get<CopyArgs>(operations_[i]);
        done_[i].parts[part] = true;
        done_[i].all = true;
        for (std::uint32_t each = 0; each < copy.n_parts; ++each) done_[i].all &= done_[i].parts[each];
        return copy.parts[part].out.data;
    }

    static bool is_same(const RowsView& a, const RowsView& b) { return a.data == b.data && a.n_cols == b.n_cols; }

    /// Rows that the operation writes are not what was quantised of them before.
    void forget_written(std::size_t i) {
        recorder_.forget_quantised([&](const float* rows, std::uint32_t n_cols) {
            return extents_.writes(operations_[i], extent_of({const_cast<float*>(rows), n_cols}, extents_.n_rows));
        });
    }

    /// A launch does operations first … last: what they write is no longer quantised as it was, and the recorder learns
    /// whether a later one reads the last one's rows quantised.
    void begin(std::size_t first, std::size_t last) {
        for (std::size_t i = first; i <= last; ++i) forget_written(i);
        const std::optional<RowsView> made =
            std::visit([](const auto& args) { return rows_made(args); }, operations_[last]);
        recorder_.want_quantised(made && is_read_quantised(*made, last + 1));
    }

    template <typename Args>
    static std::optional<RowsView> rows_made(const Args& args) {
        if constexpr (requires { RowsView{args.out}; }) return args.out;
        return std::nullopt;
    }

    bool is_read_quantised(const RowsView& rows, std::size_t from) const {
        if (rows.n_cols % 32 != 0) return false;
        const Extent made = extent_of(rows, extents_.n_rows);
        for (std::size_t i = from; i < operations_.size(); ++i) {
            if (std::visit([&](const auto& args) { return reads_quantised(args, rows); }, operations_[i])) return true;
            if (extents_.writes(operations_[i], made)) return false;
        }
        return false;
    }
    template <typename Args>
    bool reads_quantised(const Args&, const RowsView&) const {
        return false;
    }
    bool reads_quantised(const MatmulArgs& args, const RowsView& rows) const {
        if (!is_same(args.x, rows)) return false;
        for (std::uint32_t i = 0; i < args.n_outputs; ++i)
            if (meets_quantised(recorder_, args.outputs[i].weight.type)) return true;
        return false;
    }
    bool reads_quantised(const RouteArgs& args, const RowsView& rows) const {
        return is_same(args.x, rows) && meets_quantised(recorder_, args.router.type);
    }
    bool reads_quantised(const ExpertFfnArgs& args, const RowsView& rows) const {
        return is_same(args.x, rows) &&
               (meets_quantised(recorder_, args.gate_type) || meets_quantised(recorder_, args.up_type));
    }

    Recorder& recorder_;
    std::span<const Operation> operations_;
    std::span<const Meeting> meetings_;
    std::vector<Done> done_;
    Extents extents_;
    std::size_t at_ = 0;
    const AddArgs* sunk_ = nullptr;  // a sum put off, to be done by the next sum or norm
};

}  // namespace

std::vector<std::uint32_t> lower_all(Recorder& recorder, std::span<const Operation> operations,
                                     std::span<const Meeting> meetings) {
    return Lowering(recorder, operations, meetings).run();
}

}  // namespace lfm::gpu
