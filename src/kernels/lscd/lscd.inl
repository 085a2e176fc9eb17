// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "../linear/linear.hpp"
#include "expand.inl"

namespace gossamer::lscd {
inline namespace GOSSAMER_ISA {

#if defined(__AVX512F__)
inline constexpr int widest = 16; // columns of X whose sums stay in registers
#else
inline constexpr int widest = 4;
#endif
inline constexpr int panel_tiles = 4; // 256 columns of 16 rows: 8 KB of pairs or 16 KB of float32

// The values of a tile. Expansion reads whole vectors, so the tiles at the end are copied to where that is allowed.
template <class F>
GOSSAMER_INLINE const typename F::Value* tile_values(const Matrix& a, std::int64_t t, typename F::Value* spare) {
    const auto* values = static_cast<const typename F::Value*>(a.values);
    const std::int64_t from = a.tile_ptr[t], to = a.tile_ptr[t + 1];
    if (to + 32 <= a.stored) return values + from;
    for (std::int64_t i = from; i < to; ++i) spare[i - from] = values[i];
    return spare;
}

template <class F>
struct Spare {
    typename F::Value values[tile_size + 32] = {};
};

template <class F>
inline constexpr int steps = tile_cols / F::columns;

// Sums of one row of tiles in registers while its tiles [first, last) are expanded. X lies as [step][N], or, where
// `token_major`, as N tokens `stride` apart. out[i * 16 + row].
template <class F, int N, bool token_major>
void stream(const Matrix& a, std::int64_t row_tile, std::int64_t first, std::int64_t last, const typename F::X* x,
            std::int64_t stride, float* out) {
    constexpr int chains = N == 1 ? 4 : N <= 3 ? 2 : 1; // enough to hide the latency of an FMA
    constexpr int advance = F::columns / F::x_columns;
    const std::int64_t between = token_major ? stride : 1, step = token_major ? 1 : N;
    v16f acc[chains][N] = {};
    Spare<F> spare;
    for (std::int64_t j = first; j < last; ++j) {
        const std::int64_t t = row_tile * a.col_tiles() + j;
        const auto* p = tile_values<F>(a, t, spare.values);
        const auto* masks = static_cast<const typename F::Mask*>(a.masks) + t * steps<F>;
        const auto* at = x + j * (tile_cols / F::x_columns) * step;
        for (int s = 0; s < steps<F>; s += chains) {
            __builtin_prefetch(p + 1024 / sizeof(*p));
#pragma GCC unroll 4
            for (int c = 0; c < chains; ++c) {
                const auto w = F::expand(masks[s + c], p);
                p += __builtin_popcount(masks[s + c]);
                F::template multiply<N>(w, at + (s + c) * advance * step, step, between, acc[c]);
            }
        }
    }
    for (int i = 0; i < N; ++i) {
        v16f total = acc[0][i];
        for (int c = 1; c < chains; ++c) total += acc[c][i];
        std::memcpy(out + 16 * i, &total, sizeof total);
    }
}

template <class F, bool token_major>
void stream_columns(int n, const Matrix& a, std::int64_t row_tile, std::int64_t first, std::int64_t last,
                    const typename F::X* x, std::int64_t stride, float* out) {
    switch (n) {
        case 1: return stream<F, 1, token_major>(a, row_tile, first, last, x, stride, out);
        case 2: return stream<F, 2, token_major>(a, row_tile, first, last, x, stride, out);
        case 3: return stream<F, 3, token_major>(a, row_tile, first, last, x, stride, out);
        case 4: return stream<F, 4, token_major>(a, row_tile, first, last, x, stride, out);
        default: break;
    }
    if constexpr (widest > 4) switch (n) {
            case 6: return stream<F, 6, token_major>(a, row_tile, first, last, x, stride, out);
            case 8: return stream<F, 8, token_major>(a, row_tile, first, last, x, stride, out);
            case 12: return stream<F, 12, token_major>(a, row_tile, first, last, x, stride, out);
            default: return stream<F, 16, token_major>(a, row_tile, first, last, x, stride, out);
        }
}

inline int width_for(std::int64_t n) { // the compiled width that holds n columns
    for (int width : {1, 2, 3, 4, 6, 8, 12})
        if (n <= width && width <= widest) return width;
    return widest;
}

// More columns than registers: a panel is expanded to the first-level cache and read once for each block of columns.
template <class F>
void panel(const Matrix& a, std::int64_t row_tile, std::int64_t first, std::int64_t last, const typename F::X* x,
           std::int64_t depth, std::int64_t blocks, float* out) {
    alignas(64) typename F::Vector expanded[panel_tiles * steps<F>];
    constexpr int advance = F::columns / F::x_columns;
    Spare<F> spare;
    for (std::int64_t i = 0; i < blocks * widest * 16; ++i) out[i] = 0;
    for (std::int64_t j = first; j < last; j += panel_tiles) {
        const std::int64_t end = least(last, j + panel_tiles);
        for (std::int64_t tile = j; tile < end; ++tile) {
            const std::int64_t t = row_tile * a.col_tiles() + tile;
            const auto* p = tile_values<F>(a, t, spare.values);
            const auto* masks = static_cast<const typename F::Mask*>(a.masks) + t * steps<F>;
            for (int s = 0; s < steps<F>; ++s) {
                __builtin_prefetch(p + 1024 / sizeof(*p));
                expanded[(tile - j) * steps<F> + s] = F::expand(masks[s], p);
                p += __builtin_popcount(masks[s]);
            }
        }
        const std::int64_t count = (end - j) * steps<F>;
        for (std::int64_t b = 0; b < blocks; ++b) {
            const auto* at = x + (b * depth + j * tile_cols) / F::x_columns * widest;
            v16f acc[widest];
            std::memcpy(acc, out + b * widest * 16, sizeof acc);
            for (std::int64_t s = 0; s < count; ++s)
                F::template multiply<widest>(expanded[s], at + s * advance * widest, widest, 1, acc);
            std::memcpy(out + b * widest * 16, acc, sizeof acc);
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
    const std::int64_t depth = a.col_tiles() * tile_cols, row_tiles = a.row_tiles(), parts = slices(a, split);
    const int width = width_for(n);
    const std::int64_t blocks = ceil_div(n, width), padded = blocks * width, partial = row_tiles * padded * 16;
    using X = typename F::X;
    const Scratch packed(depth / F::x_columns * padded * static_cast<std::int64_t>(sizeof(X)), 1);
    const Scratch sums(partial * parts * 4, 1);
    X* columns = reinterpret_cast<X*>(packed.part(0));
    float* out = reinterpret_cast<float*>(sums.part(0));
    const int useful = worthwhile_threads(2 * a.rows * a.cols * n, threads);
    parallel_chunks(blocks, useful, [&](std::int64_t b) {
        pack_columns(x, a.cols, n, b * width, width, depth, columns + b * (depth / F::x_columns) * width);
    });
    const auto write = [&](std::int64_t row_tile) { // slices are added in order
        const std::int64_t count = least<std::int64_t>(tile_rows, a.rows - row_tile * tile_rows);
        float* from = out + row_tile * padded * 16;
        for (std::int64_t part = 1; part < parts; ++part)
            for (std::int64_t i = 0; i < padded * 16; ++i) from[i] += from[part * partial + i];
        for (std::int64_t r = 0; r < count; ++r)
            for (std::int64_t i = 0; i < n; ++i) y[(row_tile * tile_rows + r) * n + i] = from[i * 16 + r];
    };
    constexpr std::int64_t tiles_a_chunk = 2;
    const std::int64_t chunks = ceil_div(row_tiles, tiles_a_chunk);
    parallel_chunks(chunks * parts, useful, [&](std::int64_t chunk) {
        const std::int64_t part = chunk / chunks, from = chunk % chunks * tiles_a_chunk;
        const std::int64_t first = part * a.col_tiles() / parts, last = (part + 1) * a.col_tiles() / parts;
        for (std::int64_t tile = from; tile < least(row_tiles, from + tiles_a_chunk); ++tile) {
            float* to = out + part * partial + tile * padded * 16;
            if (blocks == 1)
                stream_columns<F, false>(width, a, tile, first, last, columns, 0, to);
            else
                panel<F>(a, tile, first, last, columns, depth, blocks, to);
            if (parts == 1) write(tile);
        }
    });
    if (parts > 1) parallel_chunks(row_tiles, useful, write);
}

template <class F>
void tokens(const Matrix& a, std::int64_t first, std::int64_t last, const typename F::X* x, std::int64_t x_stride,
            int count, float* y, std::int64_t y_stride) {
    alignas(64) float out[widest * 16];
    for (std::int64_t tile = first; tile < least(last, a.row_tiles()); ++tile) {
        const std::int64_t rows = least<std::int64_t>(tile_rows, a.rows - tile * tile_rows);
        for (int token = 0; token < count;) {
            int width = widest;
            while (width > count - token) width = width > 4 ? (width + 1) / 2 : width - 1;
            stream_columns<F, true>(width, a, tile, 0, a.col_tiles(), x + token * x_stride, x_stride, out);
            for (int i = 0; i < width; ++i)
                std::memcpy(y + (token + i) * y_stride + tile * tile_rows, out + 16 * i, 4 * rows);
            token += width;
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

#if defined(__AVX512BF16__) && defined(__AVX512VBMI2__)
using BrainBoth = BrainPairs;
#else
using BrainBoth = Brain; // X is widened: the same products, exact in float32
#endif

inline constexpr Table kernels{matmat<Single, float>,          matmat<Half, float>,
                               matmat<Brain, float>,           matmat<BrainBoth, std::uint16_t>,
                               tokens_from_floats<Single>,     tokens_from_floats<Half>,
                               tokens_from_floats<Brain>,      tokens_from_floats<BrainBoth>,
                               expand_row};

} // namespace GOSSAMER_ISA
} // namespace gossamer::lscd
