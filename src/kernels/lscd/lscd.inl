// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "../linear/linear.hpp"
#include "expand.inl"

namespace gossamer::lscd {
inline namespace GOSSAMER_ISA {

#if defined(__AVX512F__)
inline constexpr int widest = 8, together = 2; // columns of X and rows of tiles whose sums stay in registers
#else
inline constexpr int widest = 4, together = 1;
#endif

// The values of a tile. Expansion reads whole vectors, so the tiles at the end are copied to where that is allowed.
template <class F>
GOSSAMER_INLINE const typename F::Value* tile_values(const Matrix& a, std::int64_t t, typename F::Value* spare) {
    const auto* values = static_cast<const typename F::Value*>(a.values);
    const std::int64_t from = a.tile_ptr[t], to = a.tile_ptr[t + 1];
    if (to + 32 <= a.stored) return values + from;
    for (std::int64_t i = from; i < to; ++i) spare[i - from] = values[i];
    for (std::int64_t i = to - from; i < to - from + 32; ++i) spare[i] = 0;
    return spare;
}

template <class F>
struct Spare {
    typename F::Value values[tile_size + 32]; // set where it is used
};

template <class F>
inline constexpr int steps = tile_cols / F::columns;

template <class F>
GOSSAMER_INLINE void prefetch_tile(const Matrix& a, std::int64_t t) {
    if (t >= a.row_tiles() * a.col_tiles()) return;
    const auto* values = static_cast<const typename F::Value*>(a.values);
    const auto* masks = static_cast<const typename F::Mask*>(a.masks) + t * steps<F>;
    for (std::int64_t i = a.tile_ptr[t]; i < a.tile_ptr[t + 1]; i += 64 / static_cast<int>(sizeof *values))
        __builtin_prefetch(values + i);
    __builtin_prefetch(masks);
    __builtin_prefetch(masks + steps<F> / 2);
}

// Where a block of columns takes the expanded vectors from: the tiles, the tiles and keeps them, or what was kept.
enum class Source { tiles, tiles_kept, kept };

// Tiles [first, last) of R rows of tiles times N columns, summed in registers. X lies as [step][N], or, where
// `token_major`, as N tokens `stride` apart. out[r * out_stride + i * 16 + row].
template <class F, int N, int R, bool token_major, Source source>
void block(const Matrix& a, std::int64_t row_tile, std::int64_t first, std::int64_t last, const typename F::X* x,
           std::int64_t stride, typename F::Vector* panel, float* out, std::int64_t out_stride, bool add) {
    constexpr int chains = N * R == 1 ? 4 : N * R <= 3 ? 2 : 1; // enough to hide the latency of an FMA
    constexpr int advance = F::columns / F::x_columns;
    const std::int64_t between = token_major ? stride : 1, step = token_major ? 1 : N;
    v16f acc[chains][R][N] = {};
    if (add) // one by one and unrolled, as all that touches the sums: else the compiler holds them in memory
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
            for (int i = 0; i < N; ++i) acc[0][r][i] = load<v16f>(out + r * out_stride + 16 * i);
    [[maybe_unused]] Spare<F> spare[R];
    for (std::int64_t j = first; j < last; ++j) {
        [[maybe_unused]] const typename F::Value* p[R];
        [[maybe_unused]] const typename F::Mask* masks[R];
        if constexpr (source != Source::kept)
            for (int r = 0; r < R; ++r) {
                const std::int64_t t = (row_tile + r) * a.col_tiles() + j;
                p[r] = tile_values<F>(a, t, spare[r].values);
                masks[r] = static_cast<const typename F::Mask*>(a.masks) + t * steps<F>;
                prefetch_tile<F>(a, t + 2);
            }
        const auto* at = x + j * (tile_cols / F::x_columns) * step;
        [[maybe_unused]] auto* kept = panel + (j - first) * steps<F> * R;
        for (int s = 0; s < steps<F>; s += chains) {
#pragma GCC unroll 4
            for (int c = 0; c < chains; ++c) {
                typename F::Vector w[R];
#pragma GCC unroll 2
                for (int r = 0; r < R; ++r) {
                    if constexpr (source == Source::kept) {
                        w[r] = kept[(s + c) * R + r];
                    } else {
                        w[r] = F::expand(masks[r][s + c], p[r]);
                        p[r] += __builtin_popcount(masks[r][s + c]);
                        if constexpr (source == Source::tiles_kept) kept[(s + c) * R + r] = w[r];
                    }
                }
                F::template multiply<R, N>(w, at + (s + c) * advance * step, step, between, acc[c]);
            }
        }
    }
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) {
            v16f total = acc[0][r][i];
#pragma GCC unroll 4
            for (int c = 1; c < chains; ++c) total += acc[c][r][i];
            store(out + r * out_stride + 16 * i, total);
        }
}

template <class F, int R, bool token_major, Source source, class... Rest>
GOSSAMER_INLINE void block_of(int width, const Rest&... rest) {
    constexpr bool alone = source == Source::tiles; // of several blocks none is narrower than half of the widest
    if constexpr (alone && widest > 4) switch (width) {
            case 1: return block<F, 1, R, token_major, source>(rest...);
            case 2: return block<F, 2, R, token_major, source>(rest...);
            case 3: return block<F, 3, R, token_major, source>(rest...);
            default: break;
        }
    if constexpr (widest > 4) switch (width) {
            case 4: return block<F, 4, R, token_major, source>(rest...);
            case 5: return block<F, 5, R, token_major, source>(rest...);
            case 6: return block<F, 6, R, token_major, source>(rest...);
            case 7: return block<F, 7, R, token_major, source>(rest...);
            default: return block<F, 8, R, token_major, source>(rest...);
        }
    else switch (width) {
            case 1: return block<F, 1, R, token_major, source>(rest...);
            case 2: return block<F, 2, R, token_major, source>(rest...);
            case 3: return block<F, 3, R, token_major, source>(rest...);
            default: return block<F, 4, R, token_major, source>(rest...);
        }
}

struct Blocks { // n columns in as few blocks as registers allow, equal but for one column
    std::int64_t n, count;
    explicit Blocks(std::int64_t columns) : n(columns), count(ceil_div(columns, widest)) {}
    std::int64_t from(std::int64_t b) const { return b * n / count; }
    int width(std::int64_t b) const { return static_cast<int>(from(b + 1) - from(b)); }
};

// Tiles [first, last) of R rows of tiles times n columns. Where they are more than registers hold, a panel of tiles is
// expanded and kept in the first-level cache while the first block is multiplied, and read for the others.
template <class F, int R, bool token_major>
void rows_of_tiles(const Matrix& a, std::int64_t row_tile, std::int64_t first, std::int64_t last,
                   const typename F::X* x, std::int64_t stride, std::int64_t n, float* out) {
    using Vector = typename F::Vector;
    constexpr int panel_tiles = 128 * together / (R * steps<F>); // 8 or 16 KB
    const Blocks blocks(n);
    const std::int64_t depth = a.col_tiles() * tile_cols / F::x_columns;
    if (blocks.count == 1)
        return block_of<F, R, token_major, Source::tiles>(static_cast<int>(n), a, row_tile, first, last, x, stride,
                                                          static_cast<Vector*>(nullptr), out, n * 16, false);
    alignas(64) Vector panel[panel_tiles * steps<F> * R];
    Vector* kept = panel;
    for (std::int64_t j = first; j == first || j < last; j += panel_tiles) {
        const std::int64_t end = least(last, j + panel_tiles);
        for (std::int64_t b = 0; b < blocks.count; ++b) {
            const auto* columns = x + blocks.from(b) * (token_major ? stride : depth);
            float* to = out + blocks.from(b) * 16;
            if (b == 0)
                block_of<F, R, token_major, Source::tiles_kept>(blocks.width(b), a, row_tile, j, end, columns, stride,
                                                                kept, to, n * 16, j > first);
            else
                block_of<F, R, token_major, Source::kept>(blocks.width(b), a, row_tile, j, end, columns, stride, kept,
                                                          to, n * 16, j > first);
        }
    }
}

inline float widen(float x) { return x; }
inline float widen(std::uint16_t x) {
    const std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// Rows [0, depth) of columns [from, from + width) of x (cols, n), zero where there are none: [step][width].
template <class Element, class From>
void pack_columns(const From* x, std::int64_t cols, std::int64_t n, std::int64_t from, int width, std::int64_t depth,
                  Element* out) {
    const int count = static_cast<int>(least<std::int64_t>(width, n - from));
    constexpr bool pairs = !__is_same(Element, float);
    for (std::int64_t k = 0; k < depth; k += pairs ? 2 : 1, out += width)
        for (int i = 0; i < width; ++i) {
            const bool there = i < count && k < cols;
            if constexpr (pairs) {
                const std::uint32_t low = there ? x[k * n + from + i] : 0;
                const std::uint32_t high = there && k + 1 < cols ? x[(k + 1) * n + from + i] : 0;
                out[i] = low | high << 16;
            } else {
                out[i] = there ? widen(x[k * n + from + i]) : 0.0f;
            }
        }
}

inline std::int64_t slices(const Matrix& a, int split) {
    const std::int64_t tiles = a.col_tiles();
    // few rows of tiles leave threads without work: 8 pieces at least, of 8 tiles at least
    const std::int64_t wanted = split > 0 ? split : least(ceil_div(8, most<std::int64_t>(a.row_tiles(), 1)), tiles / 8);
    return most<std::int64_t>(1, least(wanted, tiles));
}

template <class F, class From>
void matmat(const Matrix& a, const From* x, std::int64_t n, float* y, int split, int threads) {
    if (n == 0 || a.rows == 0) return;
    const std::int64_t row_tiles = a.row_tiles(), parts = slices(a, split), partial = row_tiles * n * 16;
    const std::int64_t depth = a.col_tiles() * tile_cols;
    using X = typename F::X;
    const Scratch packed(depth / F::x_columns * n * static_cast<std::int64_t>(sizeof(X)), 1);
    const Scratch sums(partial * parts * 4, 1);
    X* columns = reinterpret_cast<X*>(packed.part(0));
    float* out = reinterpret_cast<float*>(sums.part(0));
    const int useful = worthwhile_threads(2 * a.rows * a.cols * n, threads);
    const Blocks blocks(n);
    parallel_chunks(blocks.count, useful, [&](std::int64_t b) {
        pack_columns(x, a.cols, n, blocks.from(b), blocks.width(b), depth, columns + blocks.from(b) * (depth / F::x_columns));
    });
    const auto write = [&](std::int64_t row_tile) { // slices are added in order
        const std::int64_t count = least<std::int64_t>(tile_rows, a.rows - row_tile * tile_rows);
        float* from = out + row_tile * n * 16;
        for (std::int64_t part = 1; part < parts; ++part)
            for (std::int64_t i = 0; i < n * 16; ++i) from[i] += from[part * partial + i];
        for (std::int64_t r = 0; r < count; ++r)
            for (std::int64_t i = 0; i < n; ++i) y[(row_tile * tile_rows + r) * n + i] = from[i * 16 + r];
    };
    const std::int64_t chunks = ceil_div(row_tiles, 2);
    parallel_chunks(chunks * parts, useful, [&](std::int64_t chunk) {
        const std::int64_t part = chunk / chunks, from = chunk % chunks * 2, to = least(row_tiles, from + 2);
        const std::int64_t first = part * a.col_tiles() / parts, last = (part + 1) * a.col_tiles() / parts;
        for (std::int64_t tile = from; tile < to; tile += together) {
            float* sum = out + part * partial + tile * n * 16;
            if (tile + together <= to)
                rows_of_tiles<F, together, false>(a, tile, first, last, columns, 0, n, sum);
            else
                rows_of_tiles<F, 1, false>(a, tile, first, last, columns, 0, n, sum);
        }
        if (parts == 1)
            for (std::int64_t tile = from; tile < to; ++tile) write(tile);
    });
    if (parts > 1) parallel_chunks(row_tiles, useful, write);
}

template <class F>
void tokens(const Matrix& a, std::int64_t first, std::int64_t last, const typename F::X* x, std::int64_t x_stride,
            int count, float* y, std::int64_t y_stride) {
    constexpr int most_tokens = 32;
    alignas(64) float out[together * most_tokens * 16];
    last = least(last, a.row_tiles());
    for (std::int64_t tile = first; tile < last; tile += together) {
        const std::int64_t rows = least<std::int64_t>(together * tile_rows, a.rows - tile * tile_rows);
        for (int token = 0; token < count; token += most_tokens) {
            const int now = least(most_tokens, count - token);
            const auto* from = x + token * x_stride;
            if (tile + together <= last)
                rows_of_tiles<F, together, true>(a, tile, 0, a.col_tiles(), from, x_stride, now, out);
            else
                rows_of_tiles<F, 1, true>(a, tile, 0, a.col_tiles(), from, x_stride, now, out);
            for (int i = 0; i < now; ++i)
                for (std::int64_t r = 0; r < rows; r += tile_rows)
                    std::memcpy(y + (token + i) * y_stride + tile * tile_rows + r, out + (r * now) + 16 * i,
                                4 * least<std::int64_t>(tile_rows, rows - r));
        }
    }
}

// Tokens as the kernels read them: whole tiles, and a line more so that rows do not share their places in the cache.
template <class F>
void tokens_from_floats(const Matrix& a, std::int64_t first, std::int64_t last, const float* x, std::int64_t x_stride,
                        int count, float* y, std::int64_t y_stride) {
    if constexpr (F::x_columns == 1) {
        if (a.cols % tile_cols == 0) return tokens<F>(a, first, last, x, x_stride, count, y, y_stride);
    }
    using X = typename F::X;
    const std::int64_t stride = (a.col_tiles() * tile_cols + 32) / F::x_columns;
    X* rows = reinterpret_cast<X*>(linear::scratch(static_cast<std::size_t>(count * stride)));
    for (int token = 0; token < count; ++token) {
        const float* from = x + token * x_stride;
        X* to = rows + token * stride;
        std::int64_t k = 0;
#if defined(__AVX512BF16__) && defined(__AVX512VBMI2__)
        if constexpr (F::x_columns == 2) {
            for (; k + 32 <= a.cols; k += 32) {
                const __m512bh pair = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + k + 16), _mm512_loadu_ps(from + k));
                std::memcpy(to + k / 2, &pair, sizeof pair);
            }
            float rest[64] = {};
            for (std::int64_t i = k; i < a.cols; ++i) rest[i - k] = from[i];
            for (std::int64_t i = 0; k < a.col_tiles() * tile_cols; k += 32, i += 32) {
                const __m512bh pair = _mm512_cvtne2ps_pbh(_mm512_loadu_ps(rest + i + 16), _mm512_loadu_ps(rest + i));
                std::memcpy(to + k / 2, &pair, sizeof pair);
            }
            continue;
        }
#endif
        if constexpr (F::x_columns == 1) {
            for (; k < a.cols; ++k) to[k] = from[k];
            for (; k < a.col_tiles() * tile_cols; ++k) to[k] = 0;
        }
    }
    tokens<F>(a, first, last, rows, stride, count, y, y_stride);
}

template <class F>
void expand_row_of(const Matrix& a, std::int64_t row, float* out) {
    Spare<F> spare;
    for (std::int64_t j = 0; j < a.col_tiles(); ++j) {
        const std::int64_t t = row / tile_rows * a.col_tiles() + j;
        const auto* p = tile_values<F>(a, t, spare.values);
        const auto* masks = static_cast<const typename F::Mask*>(a.masks) + t * steps<F>;
        for (int s = 0; s < steps<F>; ++s) {
            const auto w = F::expand(masks[s], p);
            p += __builtin_popcount(masks[s]);
            for (int c = 0; c < F::columns; ++c) {
                const std::int64_t k = j * tile_cols + s * F::columns + c;
                if (k < a.cols) out[k] = F::at(w, static_cast<int>(row % tile_rows), c);
            }
        }
    }
}

inline void expand_row(const Matrix& a, int bits, std::int64_t row, float* out) {
    if (bits == 32)
        expand_row_of<Single>(a, row, out);
    else if (bits == 16)
        expand_row_of<Half>(a, row, out);
    else
        expand_row_of<Brain>(a, row, out);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::lscd

#include "csl.inl"

namespace gossamer::lscd {
inline namespace GOSSAMER_ISA {

#if defined(__AVX512BF16__) && defined(__AVX512VBMI2__)
using BrainBoth = BrainPairs;
#else
using BrainBoth = Brain; // X is widened: the same products, exact in float32
#endif

inline constexpr Table kernels{matmat<Single, float>,          matmat<Half, float>,
                               matmat<Brain, float>,           matmat<BrainBoth, std::uint16_t>,
                               tokens_from_floats<Single>,     tokens_from_floats<Half>,
                               tokens_from_floats<Brain>,      tokens_from_floats<BrainBoth>,
                               expand_row,                     scatter};

} // namespace GOSSAMER_ISA
} // namespace gossamer::lscd
