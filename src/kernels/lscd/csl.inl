// Tiled-CSL as the GPU multiplies it: zero a dense tile in the nearest memory, scatter the words, multiply the tile.
// Included by lscd.inl, whose blocks of columns it uses.

namespace gossamer::lscd {
inline namespace GOSSAMER_ISA {

// sums[i * 16 + row] += 16 x 64 float16 entries [column][row] times 64 rows of N columns of X
template <int N>
void multiply_strip(const std::uint16_t* entries, const float* x, float* sums) {
    v16f acc[1][N];
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) acc[0][i] = load<v16f>(sums + 16 * i);
    for (int k = 0; k < csl_cols; ++k) {
        const v16f w[1] = {Half::expand(0xffffu, entries + k * 16)};
        Half::multiply<1, N>(w, x + k * N, N, 1, acc);
    }
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) store(sums + 16 * i, acc[0][i]);
}

inline void scatter_tile(const std::uint32_t* words, const std::uint32_t* end, std::uint16_t* dense) {
    std::memset(dense, 0, 2 * csl_rows * csl_cols);
    for (; words < end; ++words) {
        const std::uint32_t place = *words >> 16, row = place / csl_cols, column = (place % csl_cols) ^ (row % 8 << 3);
        dense[row / 16 * (16 * csl_cols) + column * 16 + row % 16] = static_cast<std::uint16_t>(*words);
    }
}

inline void scatter(const Csl& a, const float* x, std::int64_t n, float* y, int threads) {
    if (n == 0 || a.rows == 0) return;
    constexpr int strips = csl_rows / 16, strip = 16 * csl_cols;
    const int width = n == 1 ? 1 : widest, useful = worthwhile_threads(2 * a.rows * a.cols * n, threads);
    const std::int64_t blocks = ceil_div(n, width), depth = a.col_tiles() * csl_cols, size = csl_rows * blocks * width;
    const Scratch packed(depth * blocks * width * 4, 1), all_sums(a.row_tiles() * size * 4, 1);
    float* columns = reinterpret_cast<float*>(packed.part(0));
    parallel_chunks(blocks, useful, [&](std::int64_t b) {
        pack_columns(x, a.cols, n, b * width, width, depth, columns + b * width * depth);
    });
    parallel_chunks(a.row_tiles(), useful, [&](std::int64_t row_tile) {
        alignas(64) std::uint16_t dense[strips * strip + 32] = {}; // expansion reads whole vectors
        float* sums = reinterpret_cast<float*>(all_sums.part(0)) + row_tile * size;
        std::memset(sums, 0, static_cast<std::size_t>(4 * size));
        for (std::int64_t j = 0; j < a.col_tiles(); ++j) {
            const std::int32_t* offset = a.offsets + row_tile * a.col_tiles() + j;
            scatter_tile(a.words + std::int64_t{csl_vector} * offset[0], a.words + std::int64_t{csl_vector} * offset[1], dense);
            for (std::int64_t b = 0; b < blocks; ++b)
                for (int s = 0; s < strips; ++s) {
                    const float* from = columns + (b * depth + j * csl_cols) * width;
                    float* to = sums + (s * blocks + b) * 16 * width;
                    width == 1 ? multiply_strip<1>(dense + s * strip, from, to) : multiply_strip<widest>(dense + s * strip, from, to);
                }
        }
        const std::int64_t top = row_tile * csl_rows, count = least<std::int64_t>(csl_rows, a.rows - top);
        for (std::int64_t r = 0; r < count; ++r)
            for (std::int64_t i = 0; i < n; ++i) y[(top + r) * n + i] = sums[(r / 16 * blocks * width + i) * 16 + r % 16];
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::lscd
