// Mirror of the expert table (ExpertMirrors of step_area.h); include step.glsl first.
struct ExpertEntry {
    uint64_t gate;
    uint64_t up;
    uint64_t down;
    uint64_t held;  // 1: by this device
};
layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer ExpertTable { ExpertEntry at[]; };
