#include "backends/gpu/extents.h"

#include <array>
#include <span>
#include <vector>

namespace lfm::gpu {
namespace {

/// Notes whether an operation reads or writes a part of `wanted`.
class Accesses {
public:
    Accesses(const Extents& of, const Extent& wanted) : of_(of), wanted_(wanted) {}

    void operator()(const EmbedArgs& args) { write(args.out); }
    void operator()(const RmsNormArgs& args) {
        read(args.x);
        write(args.out);
    }
    void operator()(const MatmulArgs& args) {
        read(args.x);
        for (std::uint32_t i = 0; i < args.n_outputs; ++i) write(args.outputs[i].out);
    }
    void operator()(const QkNormRopeArgs& args) {
        for (const RowsView& rows : {args.q, args.k}) {
            read(rows);
            write(rows);
        }
    }
    void operator()(const KvAppendArgs& args) {
        read(args.k);
        read(args.v);
        for (const Extent& extent : cache(args.cache)) note(writes_, extent);
    }
    void operator()(const AttentionArgs& args) {
        read(args.q);
        for (const Extent& extent : cache(args.cache)) note(reads_, extent);
        write(args.out);
    }
    void operator()(const ShortConvArgs& args) {
        read(args.bcx);
        const Extent ring = bytes_at(args.ring, std::size_t{args.n_slots} * args.out.n_cols);
        note(reads_, ring);
        note(writes_, ring);
        write(args.out);
    }
    void operator()(const SwigluArgs& args) {
        read(args.gate);
        read(args.up);
        write(args.out);
    }
    void operator()(const RouteArgs& args) {
        read(args.x);
        for (const Extent& extent : choice(args.out, args.n_expert_used)) note(writes_, extent);
    }
    void operator()(const ExpertFfnArgs& args) {
        read(args.x);
        for (const Extent& extent : choice(args.choice, args.n_expert_used)) note(reads_, extent);
        write(args.out);
    }
    void operator()(const AddArgs& args) {
        read(args.a);
        read(args.b);
        write(args.out);
    }
    void operator()(const CopyArgs& args) {
        for (std::uint32_t i = 0; i < args.n_parts; ++i) {
            read(args.parts[i].x);
            write(args.parts[i].out);
        }
    }

    bool reads() const { return reads_; }
    bool writes() const { return writes_; }

private:
    template <typename T>
    static Extent bytes_at(const T* begin, std::size_t n) {
        return {reinterpret_cast<const std::byte*>(begin), n * sizeof(T)};
    }
    std::array<Extent, 2> cache(const KvView& view) const {
        const std::uint32_t n_cols = view.n_head_kv * view.head_dim;
        return {bytes_at(view.k, of_.n_ctx * row_bytes(view.k_type, n_cols)),
                bytes_at(view.v, of_.n_ctx * row_bytes(view.v_type, n_cols))};
    }
    std::array<Extent, 2> choice(const ExpertChoice& choice, std::uint32_t n_used) const {
        return {bytes_at(choice.ids, std::size_t{of_.n_rows} * n_used),
                bytes_at(choice.weights, std::size_t{of_.n_rows} * n_used)};
    }
    void read(const RowsView& rows) { note(reads_, extent_of(rows, of_.n_rows)); }
    void write(const RowsView& rows) { note(writes_, extent_of(rows, of_.n_rows)); }
    void note(bool& any, const Extent& extent) const { any = any || extent.overlaps(wanted_); }

    const Extents& of_;
    const Extent& wanted_;
    bool reads_ = false, writes_ = false;
};

Accesses accesses(const Extents& of, const Operation& operation, const Extent& extent) {
    Accesses found(of, extent);
    std::visit([&](const auto& args) { found(args); }, operation);
    return found;
}

}  // namespace

bool Extents::writes(const Operation& operation, const Extent& extent) const {
    return accesses(*this, operation, extent).writes();
}

bool Extents::reads(const Operation& operation, const Extent& extent) const {
    return accesses(*this, operation, extent).reads();
}

}  // namespace lfm::gpu
