// Where an expert's matrices are for one operation: by the table, or in the slot it was staged in. Include step.glsl
// and expert_table.glsl first.
layout(buffer_reference, std430, buffer_reference_align = 16) writeonly buffer ExpertsOut { ExpertEntry at[]; };

// ExpertSet of backend.h
const uint kHeld = 0;
const uint kStaged = 1;

struct ExpertSource {
    uint64_t table;    // the layer's entries
    uint64_t slot_of;  // 0: none is staged
    uint64_t slots;
    uint64_t slot_bytes;
    uint64_t up_offset;
    uint64_t down_offset;
    uint n_expert;
    uint set;
};

/// `held` says whether the expert belongs to the set.
ExpertEntry find_expert(ExpertSource source, uint id) {
    if (id >= source.n_expert) return ExpertEntry(0, 0, 0, 0);
    const int slot = source.slot_of != 0 ? Ints(source.slot_of).at[id] : -1;
    if (source.set == kStaged) {
        const uint64_t at = source.slots + uint64_t(max(slot, 0)) * source.slot_bytes;
        return ExpertEntry(at, at + source.up_offset, at + source.down_offset, slot >= 0 ? 1 : 0);
    }
    if (slot >= 0) return ExpertEntry(0, 0, 0, 0);
    return ExpertTable(source.table).at[id];
}
