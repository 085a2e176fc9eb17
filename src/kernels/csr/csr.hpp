// CSR times dense: Y[O, N] = A X[K, N], row-major. Flops 2 nnz N; bytes nnz (sizeof value + sizeof index) + X + Y.
#pragma once

#include <cstdint>

namespace gossamer::csr {

template <class Value, class Index>
struct Matrix { // a view; indices are checked in Python before they come here
    std::int64_t rows, cols;
    const Index* indptr;
    const Index* indices;
    const Value* data;
};

template <class Value, class Index>
using Matmat = void (*)(const Matrix<Value, Index>&, const Value* x, std::int64_t n, Value* y, int threads);

struct Table {
    Matmat<float, std::int32_t> float32_int32;
    Matmat<float, std::int64_t> float32_int64;
    Matmat<double, std::int32_t> float64_int32;
    Matmat<double, std::int64_t> float64_int64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::csr
