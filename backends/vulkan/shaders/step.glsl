// What changes from step to step (StepHeader of backends/device/step_image.h), and what every shader needs.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference2 : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require

layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Ints { int at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Words { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) writeonly buffer WordsOut { uint at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Floats { float at[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer FloatsInOut { float at[]; };

const uint kNowhere = 0xffffffff;
const uint kFromRing = 0, kFromSaved = 1;  // WindowFrom of step_params.h
const uint kPageTokens = 32;               // of a page of keys and values

// One sequence's part of the step.
struct SequenceRows {
    uint64_t pages;  // uint [up to its last row]; 0: page i is the cache's page i
    uint first_row;
    uint n_rows;
    uint position;
    uint ring;
    uint window;
    uint window_from;
    uint saved;
    uint save_to;
};
struct PageCopy {
    uint from;
    uint to;
    uint n_tokens;
};
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer PageCopies { PageCopy at[]; };

layout(buffer_reference, std430, buffer_reference_align = 16) readonly buffer Step {
    uint n_tokens;
    uint n_outputs;
    uint has_forced;
    uint n_sequences;
    uint n_singles;  // sequences of one row, which come first
    uint n_page_copies;
    uint moves_windows;
    uint unused;
    uint64_t token_ids;       // int [n]
    uint64_t output_rows;     // uint [n_outputs]
    uint64_t rope;            // float [n, head_dim]
    uint64_t forced_experts;  // int [n_moe_layer, n, n_expert_used]
    uint64_t kv_rows;         // uint [n]: rows of a cache; kNowhere: not to be written
    uint64_t row_sequences;   // uint [n]
    uint64_t page_copies;     // PageCopy [n_page_copies]
    SequenceRows sequences[];
};

/// The row of a cache that has the token at this position.
uint kv_row(uint64_t pages, uint position) {
    return pages == 0 ? position : Words(pages).at[position / kPageTokens] * kPageTokens + position % kPageTokens;
}

// RowSet of backend.h, as a push constant.
const uint kTokens = 0;
const uint kOutputs = 1;

uint rows_of(Step step, uint row_set) { return row_set == kTokens ? step.n_tokens : step.n_outputs; }
