// One sparse row times a dense row-major matrix, whatever says where its entries lie.
#pragma once

#include "simd.hpp"

namespace gossamer::inline GOSSAMER_ISA {

// sum over i of values[i] * x[index(i)], in four chains that hide the latency of the gather
template <class Real, class Index>
GOSSAMER_INLINE Real sparse_dot(const Real* values, std::int64_t count, const Index& index, const Real* x) {
    Real sums[4] = {};
    std::int64_t i = 0;
    for (; i + 4 <= count; i += 4)
        for (int k = 0; k < 4; ++k) sums[k] += values[i + k] * x[index(i + k)];
    for (; i < count; ++i) sums[0] += values[i] * x[index(i)];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

// Columns in `Vectors` vectors, entries in `Chains` chains that hide the latency of an FMA where vectors are few.
template <class Real, int Bytes, int Vectors, int Chains, class Index>
void sparse_columns(const Real* values, std::int64_t count, const Index& index, const Real* x, std::int64_t column,
                    std::int64_t n, Real* y, bool accumulate) {
    using V = simd_of<Real, Bytes>;
    for (; column + Vectors * V::width <= n; column += Vectors * V::width) {
        typename V::type sums[Chains][Vectors] = {};
        if (accumulate)
            for (int v = 0; v < Vectors; ++v) sums[0][v] = V::load(y + column + v * V::width);
        const auto add = [&](std::int64_t i, typename V::type* to) {
            const auto value = V::splat(values[i]);
            const Real* from = x + static_cast<std::int64_t>(index(i)) * n + column;
            for (int v = 0; v < Vectors; ++v) to[v] += value * V::load(from + v * V::width);
        };
        std::int64_t i = 0;
        for (; i + Chains <= count; i += Chains)
            for (int c = 0; c < Chains; ++c) add(i + c, sums[c]);
        for (; i < count; ++i) add(i, sums[0]);
        for (int v = 0; v < Vectors; ++v) {
            auto total = sums[0][v];
            for (int c = 1; c < Chains; ++c) total += sums[c][v];
            V::store(y + column + v * V::width, total);
        }
    }
    if (column == n) return;
    if constexpr (Vectors > 1)
        sparse_columns<Real, Bytes, Vectors / 2, 4>(values, count, index, x, column, n, y, accumulate);
    else if constexpr (Bytes > static_cast<int>(sizeof(Real)))
        sparse_columns<Real, Bytes / 2, 1, 4>(values, count, index, x, column, n, y, accumulate);
}

// y[0..n) (+)= sum over i of values[i] * x[index(i), 0..n)
template <class Real, class Index>
void sparse_row_times_matrix(const Real* values, std::int64_t count, const Index& index, const Real* x,
                             std::int64_t n, Real* y, bool accumulate = false) {
    sparse_columns<Real, vector_bytes, 4, 2>(values, count, index, x, 0, n, y, accumulate);
}

} // namespace gossamer::inline GOSSAMER_ISA
