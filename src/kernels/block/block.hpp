// Block-sparse rows times dense: Y[O, N] = W X[K, N], row-major; blocks of r x c.
// Flops 2 stored r c N; bytes stored (r c sizeof value + 4) + 4 O/r + X + Y.
#pragma once

#include <cstdint>

namespace gossamer::block {

template <class Real>
struct Matrix { // a view; indices are checked in Python before they come here
    std::int64_t block_rows, r, c;
    const std::int32_t *indptr, *indices;
    const Real* blocks; // (stored, r, c)
};

template <class Real>
using Matmat = void (*)(const Matrix<Real>&, const Real* x, std::int64_t n, Real* y, int threads);

struct Table {
    Matmat<float> float32;
    Matmat<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::block
