// Dense rows times a vector and times a row-major matrix: what the families do once they have unpacked.
#pragma once

#include "simd.hpp"

namespace gossamer::inline GOSSAMER_ISA {

template <class Real>
Real dot(const Real* a, const Real* b, std::int64_t count) {
    using V = simd<Real>;
    typename V::type sums[4] = {};
    std::int64_t i = 0;
    for (; i + 4 * V::width <= count; i += 4 * V::width)
        for (int k = 0; k < 4; ++k) sums[k] += V::load(a + i + k * V::width) * V::load(b + i + k * V::width);
    for (; i + V::width <= count; i += V::width) sums[0] += V::load(a + i) * V::load(b + i);
    Real tail = 0;
    for (; i < count; ++i) tail += a[i] * b[i];
    return V::sum((sums[0] + sums[1]) + (sums[2] + sums[3])) + tail;
}

// Y[Rows, Vectors * width] (+)= A[Rows, depth] X[depth, ...]; strides in elements.
template <class Real, int Bytes, int Vectors, int Rows>
GOSSAMER_INLINE void tile(const Real* a, std::int64_t a_stride, std::int64_t depth, const Real* x, std::int64_t n, Real* y,
                 bool accumulate) {
    using V = simd_of<Real, Bytes>;
    typename V::type sums[Rows][Vectors];
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v)
            sums[r][v] = accumulate ? V::load(y + r * n + v * V::width) : typename V::type{};
    for (std::int64_t k = 0; k < depth; ++k) {
        typename V::type row[Vectors];
        for (int v = 0; v < Vectors; ++v) row[v] = V::load(x + k * n + v * V::width);
        for (int r = 0; r < Rows; ++r) {
            const auto value = V::splat(a[r * a_stride + k]);
            for (int v = 0; v < Vectors; ++v) sums[r][v] += value * row[v];
        }
    }
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v) V::store(y + r * n + v * V::width, sums[r][v]);
}

inline constexpr int tile_rows = vector_bytes * vector_registers == 256 ? 4 : 6;
inline constexpr int tile_vectors = vector_registers == 32 ? 4 : 2;

// All columns from `column` on that vectors of `Bytes` can take, then the rest with shorter ones.
template <class Real, int Bytes, int Vectors>
void columns(const Real* a, std::int64_t a_stride, std::int64_t rows, std::int64_t depth, const Real* x,
             std::int64_t column, std::int64_t n, Real* y, bool accumulate) {
    constexpr std::int64_t step = Vectors * simd_of<Real, Bytes>::width;
    for (; column + step <= n; column += step) {
        std::int64_t r = 0;
        for (; r + tile_rows <= rows; r += tile_rows)
            tile<Real, Bytes, Vectors, tile_rows>(a + r * a_stride, a_stride, depth, x + column, n,
                                                  y + r * n + column, accumulate);
        for (; r < rows; ++r)
            tile<Real, Bytes, Vectors, 1>(a + r * a_stride, a_stride, depth, x + column, n, y + r * n + column,
                                          accumulate);
    }
    if (column == n) return;
    if constexpr (Vectors > 1)
        columns<Real, Bytes, 1>(a, a_stride, rows, depth, x, column, n, y, accumulate);
    else if constexpr (Bytes > static_cast<int>(sizeof(Real)))
        columns<Real, Bytes / 2, 1>(a, a_stride, rows, depth, x, column, n, y, accumulate);
}

// Y[rows, n] (+)= A[rows, depth] X[depth, n]. The depth is cut so that a tile of X stays in the first-level cache.
template <class Real>
void panel_times_matrix(const Real* a, std::int64_t a_stride, std::int64_t rows, std::int64_t depth, const Real* x,
                        std::int64_t n, Real* y, bool accumulate) {
    if (n == 1) {
        for (std::int64_t r = 0; r < rows; ++r) {
            const Real product = dot(a + r * a_stride, x, depth);
            y[r] = accumulate ? y[r] + product : product;
        }
        return;
    }
    constexpr std::int64_t step = 256;
    std::int64_t from = 0;
    do {
        columns<Real, vector_bytes, tile_vectors>(a + from, a_stride, rows, least(step, depth - from), x + from * n,
                                                  0, n, y, accumulate || from > 0);
        from += step;
    } while (from < depth);
}

} // namespace gossamer::inline GOSSAMER_ISA
