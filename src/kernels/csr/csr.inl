// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/parallel.hpp"
#include "../dispatch/simd.hpp"
#include "csr.hpp"

namespace gossamer::csr {
inline namespace GOSSAMER_ISA {

template <class Value, class Index>
void row_times_vector(const Matrix<Value, Index>& a, std::int64_t row, const Value* x, Value* y) {
    // four chains hide the latency of the gather
    Value sums[4] = {};
    Index at = a.indptr[row];
    const Index end = a.indptr[row + 1];
    for (; at + 4 <= end; at += 4)
        for (int k = 0; k < 4; ++k) sums[k] += a.data[at + k] * x[a.indices[at + k]];
    for (; at < end; ++at) sums[0] += a.data[at] * x[a.indices[at]];
    *y = (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

template <class Value, class Index>
void row_times_matrix(const Matrix<Value, Index>& a, std::int64_t row, const Value* x, std::int64_t n, Value* y) {
    using V = simd<Value>;
    constexpr int tile = 4; // vectors of columns kept in registers over a row
    std::int64_t column = 0;
    for (; column + tile * V::width <= n; column += tile * V::width) {
        typename V::type sums[tile] = {};
        for (Index at = a.indptr[row]; at < a.indptr[row + 1]; ++at) {
            const auto value = V::splat(a.data[at]);
            const Value* from = x + static_cast<std::int64_t>(a.indices[at]) * n + column;
            for (int t = 0; t < tile; ++t) sums[t] += value * V::load(from + t * V::width);
        }
        for (int t = 0; t < tile; ++t) V::store(y + column + t * V::width, sums[t]);
    }
    for (; column < n; ++column) {
        Value sum = 0;
        for (Index at = a.indptr[row]; at < a.indptr[row + 1]; ++at)
            sum += a.data[at] * x[static_cast<std::int64_t>(a.indices[at]) * n + column];
        y[column] = sum;
    }
}

template <class Value, class Index>
void matmat(const Matrix<Value, Index>& a, const Value* x, std::int64_t n, Value* y, int threads) {
    constexpr std::int64_t rows_per_chunk = 64;
    const std::int64_t chunks = (a.rows + rows_per_chunk - 1) / rows_per_chunk;
    const std::int64_t work = 2 * static_cast<std::int64_t>(a.indptr[a.rows]) * n;
    parallel_chunks(chunks, worthwhile_threads(work, threads), [&](std::int64_t chunk) {
        const std::int64_t last = std::min(a.rows, (chunk + 1) * rows_per_chunk);
        for (std::int64_t row = chunk * rows_per_chunk; row < last; ++row) {
            if (n == 1)
                row_times_vector(a, row, x, y + row);
            else
                row_times_matrix(a, row, x, n, y + row * n);
        }
    });
}

inline constexpr Table kernels{matmat<float, std::int32_t>, matmat<float, std::int64_t>,
                               matmat<double, std::int32_t>, matmat<double, std::int64_t>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::csr
