// Sums over a group of up to 1024 invocations, for subgroups of any size.
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

shared float sums_of_subgroups[128];  // subgroups of at least 8

/// The same value for every invocation. All must call it; the caller places a barrier between two calls.
float sum_of_group(float value) {
    const float part = subgroupAdd(value);
    if (subgroupElect()) sums_of_subgroups[gl_SubgroupID] = part;
    barrier();
    float sum = 0;
    for (uint i = 0; i < gl_NumSubgroups; ++i) sum += sums_of_subgroups[i];
    return sum;
}
