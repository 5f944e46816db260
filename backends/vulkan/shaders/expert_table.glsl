// The device's copy of an expert table (MirroredExpert of backends/device/expert_mirrors.h); include step.glsl first.
struct ExpertEntry {
    uint64_t gate;
    uint64_t up;
    uint64_t down;
    uint64_t held;  // 1: by this device
};
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer ExpertTable { ExpertEntry at[]; };
