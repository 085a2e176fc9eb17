// Fused low-rank addition: Y[O, N] += L[O, r] (R[r, K] X[K, N]), row-major; R X stays in the cache.
// Flops 2 r (O + K) N; bytes r (O + K) sizeof value + X + 2 Y.
#pragma once

#include <cstdint>

namespace gossamer::lowrank {

template <class Real>
struct Matrix { // a view
    std::int64_t rows, rank, cols;
    const Real *left, *right;
};

template <class Real>
using Add = void (*)(const Matrix<Real>&, const Real* x, std::int64_t n, Real* y, int threads);

struct Table {
    Add<float> float32;
    Add<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table;

} // namespace gossamer::lowrank
