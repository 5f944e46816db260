// What changes from step to step (StepHeader of backends/device/step_image.h), and what every shader needs.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference2 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require

layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Ints { int at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Words { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer WordsOut { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Floats { float at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer FloatsInOut { float at[]; };

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Step {
    uint n_tokens;
    uint position;
    uint window;
    uint n_outputs;
    uint has_forced;
    uint unused;
    uint64_t token_ids;       // int [n]
    uint64_t output_rows;     // uint [n_outputs]
    uint64_t rope;            // float [n, head_dim]
    uint64_t forced_experts;  // int [n_moe_layer, n, n_expert_used]
};

// RowSet of backend.h, as a push constant.
const uint kTokens = 0;
const uint kOutputs = 1;

uint rows_of(Step step, uint row_set) { return row_set == kTokens ? step.n_tokens : step.n_outputs; }
