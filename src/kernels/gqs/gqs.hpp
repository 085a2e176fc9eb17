// Group-sparse quantised rows times dense: Y[O, N] = W X[K, N], row-major; only kept groups are stored.
// Flops 2 kept group N; bytes kept (group bits/8 + 2 scale + zero + 2 column) + 4 O + X + Y.
#pragma once

#include "../lowrank/lowrank.hpp"
#include "../quant/groups.hpp"

namespace gossamer::gqs {

struct Matrix { // a view; columns are group numbers, checked in Python before they come here
    std::int64_t rows, cols;
    const std::int32_t* row_ptr;
    const std::uint16_t* column;
    QuantisedGroups groups;
};

template <class Real> // y = (W + term) x; `term` may be null
using Matmat = void (*)(const Matrix&, const Real* x, std::int64_t n, Real* y, const lowrank::Term* term, bool by_task,
                        int threads);

struct Table {
    Matmat<float> float32, int8; // int8 rounds the activations in blocks of 32
    Matmat<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table, neon_dot_table;

} // namespace gossamer::gqs
