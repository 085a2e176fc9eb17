// Load as sparse, compute as dense: tiles of 16 rows by 64 columns as bitmaps and packed non-zeros, times a dense
// matrix. Flops 2 O K N whatever the density; bytes of A: one bit an entry and the non-zeros.
#pragma once

#include <cstdint>

namespace gossamer::lscd {

inline constexpr int tile_rows = 16, tile_cols = 64, tile_size = tile_rows * tile_cols;

struct Matrix { // a view; masks, pointers and sizes are checked before they come here
    std::int64_t rows, cols;
    const void* masks;  // float32, float16: uint16 (tiles, 64), bit r = row r; bfloat16: uint32 (tiles, 32), bit
                        // 2 r + c = row r, column c of a pair
    const void* values; // in the order of the bits
    const std::int64_t* tile_ptr; // first value of each tile, row of tiles by row of tiles
    std::int64_t stored;

    std::int64_t row_tiles() const { return (rows + tile_rows - 1) / tile_rows; }
    std::int64_t col_tiles() const { return (cols + tile_cols - 1) / tile_cols; }
};

// Y[O, N] = A X[K, N], row-major. `split` slices of the columns of A are summed in order; 0 lets the shape decide.
template <class X>
using Matmat = void (*)(const Matrix&, const X* x, std::int64_t n, float* y, int split, int threads);

// y[token * y_stride + row] = (A x)[row, token] for the rows of tiles [first, last), x token-major; no threads.
using Tokens = void (*)(const Matrix&, std::int64_t first, std::int64_t last, const float* x, std::int64_t x_stride,
                        int tokens, float* y, std::int64_t y_stride);

// Tiled-CSL, the GPU format: tiles of 128 x 64, words float16 | location << 16, in vectors of 4 words.
inline constexpr int csl_rows = 128, csl_cols = 64, csl_vector = 4;

struct Csl { // a view; words and offsets are checked before they come here
    std::int64_t rows, cols;
    const std::uint32_t* words;
    const std::int32_t* offsets; // first vector of each tile, row of tiles by row of tiles

    std::int64_t row_tiles() const { return (rows + csl_rows - 1) / csl_rows; }
    std::int64_t col_tiles() const { return (cols + csl_cols - 1) / csl_cols; }
};

// Location of an entry in its tile, as the GPU's matrix units want it: free of bank conflicts.
inline int csl_location(int row, int col) { return row * csl_cols + (col ^ (row % 8 << 3)); }

// Y[O, N] = A X[K, N], float16 values, a tile scattered to a zeroed buffer at a time.
using Scattered = void (*)(const Csl&, const float* x, std::int64_t n, float* y, int threads);

// Fill the words of float16 entries (rows, cols), row-major; `offsets` say where tiles begin.
void csl_pack(const std::uint16_t* entries, std::int64_t rows, std::int64_t cols, const std::int32_t* offsets,
              bool reorder, std::uint32_t* words, int threads);

struct Table {
    Matmat<float> float32, float16, bfloat16;
    Matmat<std::uint16_t> bfloat16_both; // x in bfloat16 as well
    Tokens tokens_float32, tokens_float16, tokens_bfloat16;
    Tokens tokens_bfloat16_both; // rounds x to bfloat16 where the machine multiplies it
    void (*expand_row)(const Matrix&, int bits, std::int64_t row, float* out); // bits: 32, 16 (float16), 116 (bfloat16)
    Scattered scatter;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table, avx512bf16_table;
const Table& table(); // of the active ISA and of what the CPU has beyond it

} // namespace gossamer::lscd
