// Sums of several values at once over a group of at most 64 invocations, for subgroups of any size.
// The constant kSums, defined before this is included, is the number of values.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

shared float parts_of_subgroups[kSums][64];

/// Leaves the sums in `values`, for every invocation. All must call it.
void sum_over_group(inout float values[kSums]) {
    if (gl_NumSubgroups == 1) {
        [[unroll]] for (uint i = 0; i < kSums; ++i) values[i] = subgroupAdd(values[i]);
        return;
    }
    barrier();  // the previous call's sums are read
    [[unroll]] for (uint i = 0; i < kSums; ++i) {
        const float part = subgroupAdd(values[i]);
        if (subgroupElect()) parts_of_subgroups[i][gl_SubgroupID] = part;
    }
    barrier();
    [[unroll]] for (uint i = 0; i < kSums; ++i) {
        values[i] = 0;
        for (uint j = 0; j < gl_NumSubgroups; ++j) values[i] += parts_of_subgroups[i][j];
    }
}
