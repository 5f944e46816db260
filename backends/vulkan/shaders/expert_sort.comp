// Sorts the step's pairs (token, choice) by expert and leaves out those of experts outside the set. One group.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"
#include "expert_table.glsl"
#include "expert_find.glsl"

layout(constant_id = 0) const uint kExperts = 1;
layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
    Step step;
    ExpertSource source;
    Ints ids;
    ExpertsOut found;   // [n_expert]
    WordsOut begin;     // [n_expert + 1]: the first row of each expert
    WordsOut token_of;  // [n · n_used]: the token of each row
    WordsOut row_of;    // [n · n_used]: the row of each pair, or kNoRow
    uint n_used;
};

const uint kNoRow = ~0u;
shared uint place[kExperts];  // how many rows; then where the next one goes
shared uint held[kExperts];   // whether the expert is in the set: place[e] cannot mark it, others add to it

void main() {
    const uint me = gl_LocalInvocationID.x, n_pairs = step.n_tokens * n_used;
    for (uint e = me; e < kExperts; e += gl_WorkGroupSize.x) {
        const ExpertEntry entry = find_expert(source, e);
        found.at[e] = entry;
        held[e] = uint(entry.held);
        place[e] = 0;
    }
    barrier();
    for (uint i = me; i < n_pairs; i += gl_WorkGroupSize.x) {
        const uint e = uint(ids.at[i]);
        if (e < kExperts && held[e] != 0) atomicAdd(place[e], 1);
    }
    barrier();
    if (me == 0) {
        uint rows = 0;
        for (uint e = 0; e < kExperts; ++e) {
            begin.at[e] = rows;
            const uint n = place[e];
            place[e] = rows;
            rows += n;
        }
        begin.at[kExperts] = rows;
    }
    barrier();
    for (uint i = me; i < n_pairs; i += gl_WorkGroupSize.x) {
        const uint e = uint(ids.at[i]);
        uint row = kNoRow;
        if (e < kExperts && held[e] != 0) {
            row = atomicAdd(place[e], 1);
            token_of.at[row] = i / n_used;
        }
        row_of.at[i] = row;
    }
}
