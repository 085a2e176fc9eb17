// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "block.hpp"

namespace gossamer::block {
inline namespace GOSSAMER_ISA {

// One row of a block row times one column, with the longest vectors that fit a block.
template <class Real, int Bytes>
Real row_dot(const Matrix<Real>& a, std::int64_t block_row, std::int64_t i, const Real* x) {
    using V = simd_of<Real, Bytes>;
    if constexpr (V::width > 1)
        if (a.c < V::width) return row_dot<Real, Bytes / 2>(a, block_row, i, x);
    typename V::type sums[2] = {};
    Real tail = 0;
    for (std::int64_t at = a.indptr[block_row]; at < a.indptr[block_row + 1]; ++at) {
        const Real* weights = a.blocks + (at * a.r + i) * a.c;
        const Real* from = x + a.indices[at] * a.c;
        std::int64_t k = 0;
        for (; k + V::width <= a.c; k += V::width) sums[at % 2] += V::load(weights + k) * V::load(from + k);
        for (; k < a.c; ++k) tail += weights[k] * from[k];
    }
    return V::sum(sums[0] + sums[1]) + tail;
}

// Rows of a block row times a tile of columns; what is loaded of x serves all rows.
template <class Real, int Bytes, int Vectors, int Rows>
void row_tile(const Matrix<Real>& a, std::int64_t block_row, std::int64_t i, const Real* x, std::int64_t n, Real* y) {
    using V = simd_of<Real, Bytes>;
    typename V::type sums[Rows][Vectors] = {};
    for (std::int64_t at = a.indptr[block_row]; at < a.indptr[block_row + 1]; ++at) {
        const Real* weights = a.blocks + (at * a.r + i) * a.c;
        const Real* from = x + a.indices[at] * a.c * n;
        for (std::int64_t k = 0; k < a.c; ++k) {
            typename V::type row[Vectors];
            for (int v = 0; v < Vectors; ++v) row[v] = V::load(from + k * n + v * V::width);
            for (int r = 0; r < Rows; ++r)
                for (int v = 0; v < Vectors; ++v) sums[r][v] += V::splat(weights[r * a.c + k]) * row[v];
        }
    }
    for (int r = 0; r < Rows; ++r)
        for (int v = 0; v < Vectors; ++v) V::store(y + r * n + v * V::width, sums[r][v]);
}

template <class Real, int Bytes, int Vectors>
void row_columns(const Matrix<Real>& a, std::int64_t block_row, const Real* x, std::int64_t column, std::int64_t n,
                 Real* y) {
    constexpr std::int64_t step = Vectors * simd_of<Real, Bytes>::width;
    for (; column + step <= n; column += step) {
        std::int64_t i = 0;
        for (; i + 4 <= a.r; i += 4)
            row_tile<Real, Bytes, Vectors, 4>(a, block_row, i, x + column, n, y + i * n + column);
        for (; i < a.r; ++i) row_tile<Real, Bytes, Vectors, 1>(a, block_row, i, x + column, n, y + i * n + column);
    }
    if (column == n) return;
    if constexpr (Vectors > 1)
        row_columns<Real, Bytes, 1>(a, block_row, x, column, n, y);
    else if constexpr (Bytes > static_cast<int>(sizeof(Real)))
        row_columns<Real, Bytes / 2, 1>(a, block_row, x, column, n, y);
}

template <class Real>
void matmat(const Matrix<Real>& a, const Real* x, std::int64_t n, Real* y, int threads) {
    constexpr int vectors = vector_bytes == 64 ? 4 : 2;
    const std::int64_t rows_per_chunk = most<std::int64_t>(1, 64 / a.r); // block rows
    const std::int64_t work = 2 * std::int64_t{a.indptr[a.block_rows]} * a.r * a.c * n;
    parallel_chunks(ceil_div(a.block_rows, rows_per_chunk), worthwhile_threads(work, threads), [&](std::int64_t part) {
        const std::int64_t last = least(a.block_rows, (part + 1) * rows_per_chunk);
        for (std::int64_t row = part * rows_per_chunk; row < last; ++row) {
            Real* to = y + row * a.r * n;
            if (n == 1)
                for (std::int64_t i = 0; i < a.r; ++i) to[i] = row_dot<Real, vector_bytes>(a, row, i, x);
            else
                row_columns<Real, vector_bytes, vectors>(a, row, x, 0, n, to);
        }
    });
}

inline constexpr Table kernels{matmat<float>, matmat<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::block
