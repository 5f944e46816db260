// Copies the first rows of pages of a cache to other pages. Words along x, page copies along y.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "step.glsl"

layout(local_size_x = 256) in;
layout(push_constant) uniform Push {
    Step step;
    uint64_t cache;
    uint row_bytes;
};

void main() {
    const PageCopy copy = PageCopies(step.page_copies).at[gl_WorkGroupID.y];
    Words from = Words(cache + uint64_t(copy.from) * kPageTokens * row_bytes);
    WordsOut to = WordsOut(cache + uint64_t(copy.to) * kPageTokens * row_bytes);
    // Half a word more of rows that are not a whole number of words: the page's next row, which is yet to be written.
    const uint n = (copy.n_tokens * row_bytes + 3) / 4;
    for (uint i = gl_GlobalInvocationID.x; i < n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) to.at[i] = from.at[i];
}
