// N:M rows times dense: Y[O, N] = W X[K, N], row-major; of every m neighbours n are stored.
// Flops 2 O K n/m N; bytes O K n/m (sizeof value + position bits / 8) + X + Y.
#pragma once

#include <cstdint>

namespace gossamer::nm {

template <class Real>
struct Matrix { // a view; cols is a multiple of m
    std::int64_t rows, cols;
    int n, m, position_bits;
    const Real* values;            // (rows, cols / m * n)
    const std::uint8_t* positions; // (rows, ceil(cols / m * n * position_bits / 8))
};

template <class Real>
using Matmat = void (*)(const Matrix<Real>&, const Real* x, std::int64_t columns, Real* y, int threads);

struct Table {
    Matmat<float> float32;
    Matmat<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::nm
