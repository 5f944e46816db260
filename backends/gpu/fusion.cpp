#include "backends/gpu/fusion.h"

#include <array>
#include <optional>
#include <variant>
#include <vector>

#include "backends/gpu/extents.h"
#include "backends/gpu/ops_matmul.h"

namespace lfm::gpu {
namespace {

/// Operations on their way to launches, in order; some are done ahead by the launch of one before.
class Lowering {
public:
    Lowering(Recorder& recorder, std::span<const Operation> operations)
        : recorder_(recorder),
          operations_(operations),
          done_(operations.size()),
          extents_{recorder.step_class() == StepClass::kOne ? 1 : recorder.limits().n_batch, recorder.limits().n_ctx} {}

    void run() {
        for (at_ = 0; at_ < operations_.size(); ++at_) {
            if (is_done(at_)) continue;
            std::visit([this](const auto& args) { lower_one(args); }, operations_[at_]);
        }
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

    template <typename Args>
    void lower_one(const Args& args) {
        begin(at_, at_);
        lower(recorder_, args);
    }
    void lower_one(const RmsNormArgs& args) { lower_norm({.norm = args}, at_); }
    void lower_one(const AddArgs& args) {
        if (!lower_sums(args)) {
            begin(at_, at_);
            lower(recorder_, args);
        }
    }
    void lower_one(const CopyArgs& args) {
        CopyArgs left = args;
        left.n_parts = 0;
        for (std::uint32_t i = 0; i < args.n_parts; ++i)
            if (!done_[at_].parts[i]) left.parts[left.n_parts++] = args.parts[i];
        begin(at_, at_);
        lower(recorder_, left);
    }

    /// One or two sums onto the same rows, and their norm, if that is what follows.
    bool lower_sums(const AddArgs& first) {
        SumNorm merged{.n_added = 1, .added = {first.b.data}, .sum = first.out.data};
        if (first.a.data != first.out.data) return false;  // else the next sum does not begin with this one
        std::size_t last = next(at_ + 1);
        if (const AddArgs* second = get<AddArgs>(last); second != nullptr && is_same(second->a, first.out) &&
                                                        is_same(second->out, first.out) &&
                                                        second->b.data != first.out.data) {
            merged.added[merged.n_added++] = second->b.data;
            done_[last].all = true;
            last = next(last + 1);
        }
        const RmsNormArgs* norm = get<RmsNormArgs>(last);
        if (norm == nullptr || norm->rows != RowSet::kTokens || !is_same(norm->x, first.out)) {
            for (std::size_t i = at_ + 1; i < last && merged.n_added == 2; ++i) done_[i].all = false;
            return false;
        }
        merged.norm = *norm;
        done_[last].all = true;
        lower_norm(merged, last);
        return true;
    }

    /// Operations at_ … last as one launch.
    void lower_norm(SumNorm merged, std::size_t last) {
        begin(at_, last);
        merged.out_too = take_copy(merged.norm.out, merged.norm.rows, last);
        lower(recorder_, merged);
    }

    /// The rows where the next copy of `rows` goes, if nothing between needs it to wait: it is done from now on.
    float* take_copy(const RowsView& rows, RowSet set, std::size_t made_by) {
        const Extent made = extent_of(rows, extents_.n_rows);
        for (std::size_t i = made_by + 1; i < operations_.size(); ++i) {
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

    /// A launch does operations first … last: what they write is no longer quantised as it was, and the recorder learns
    /// whether a later one reads the last one's rows quantised.
    void begin(std::size_t first, std::size_t last) {
        for (std::size_t i = first; i <= last; ++i)
            recorder_.forget_quantised([&](const float* rows, std::uint32_t n_cols) {
                return extents_.writes(operations_[i], extent_of({const_cast<float*>(rows), n_cols}, extents_.n_rows));
            });
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
    std::vector<Done> done_;
    Extents extents_;
    std::size_t at_ = 0;
};

}  // namespace

void lower_all(Recorder& recorder, std::span<const Operation> operations) { Lowering(recorder, operations).run(); }

}  // namespace lfm::gpu
