// Products of 64 weight rows with a tile of tokens, for one or two weight matrices that share their input. Weights
// and input are brought to f32 in shared memory, 32 columns at a time, and multiplied there. 128 invocations.
// Constants to define before: kTileTokens (64, or 32 with up to two matrices), kMatrices, kInputs (forms of the input:
// 2 when two matrices differ in type, for then their items lie differently). Include matmul_input.glsl first.

const uint kTileRows = 64;
const uint kTileVectors = kTileTokens / 32;  // vec4 of rows for each invocation, for each of four tokens
const uint kRowGroups = 16 / kTileVectors;

shared vec4 weight_tile[kMatrices][32 * kTileRows / 4];  // [column][row]
shared vec4 input_tile[kInputs][32 * kTileTokens / 4];   // [column][token]

/// This invocation's share: rows 4 (row_group + v · kRowGroups) …, tokens 4 token_group ….
struct TileSums {
    vec4 at[kMatrices][kTileVectors][4];
};

uint row_group() { return gl_LocalInvocationIndex % kRowGroups; }
uint token_group() { return gl_LocalInvocationIndex / kRowGroups; }

void clear(out TileSums sums) {
    [[unroll]] for (uint m = 0; m < kMatrices; ++m)
        [[unroll]] for (uint v = 0; v < kTileVectors; ++v)
            [[unroll]] for (uint t = 0; t < 4; ++t) sums.at[m][v][t] = vec4(0);
}

void put_weights(uint matrix, uint row, vec4 w[8]) {
    [[unroll]] for (uint i = 0; i < 32; ++i)
        weight_tile[matrix][i * kTileRows / 4 + row / 4][row % 4] = w[i / 4][i % 4];
}
void put_input(uint form, uint token, vec4 x[8]) {
    [[unroll]] for (uint i = 0; i < 32; ++i)
        input_tile[form][i * kTileTokens / 4 + token / 4][token % 4] = x[i / 4][i % 4];
}

/// Adds the products of the 32 columns in shared memory, for the tokens that the tile has.
void multiply_tiles(uint n_tokens, inout TileSums sums) {
    if (4 * token_group() >= n_tokens) return;
    for (uint i = 0; i < 32; ++i)
        [[unroll]] for (uint m = 0; m < kMatrices; ++m) {
            const vec4 x = input_tile[min(m, kInputs - 1)][i * kTileTokens / 4 + token_group()];
            [[unroll]] for (uint v = 0; v < kTileVectors; ++v) {
                const vec4 w = weight_tile[m][i * kTileRows / 4 + row_group() + v * kRowGroups];
                [[unroll]] for (uint t = 0; t < 4; ++t) sums.at[m][v][t] = fma(w, vec4(x[t]), sums.at[m][v][t]);
            }
        }
}

uint tile_row(uint v) { return 4 * (row_group() + v * kRowGroups); }
