// Group-quantised rows times dense: Y[O, N] = W X[K, N], row-major.
// Flops 2 O K N; bytes O K bits/8 + O K/group (2 + zero) + X + Y.
#pragma once

#include "../lowrank/lowrank.hpp"
#include "groups.hpp"

namespace gossamer::quant {

struct Matrix { // a view; groups_per_row * group >= cols, what is beyond cols counts as zero
    std::int64_t rows, cols, groups_per_row;
    QuantisedGroups groups;
};

template <class Real> // y = (W + term) x; `term` may be null
using Matmat = void (*)(const Matrix&, const Real* x, std::int64_t n, Real* y, const lowrank::Term* term, int threads);

struct Table {
    Matmat<float> float32, int8; // int8 rounds the activations in blocks of 32
    Matmat<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table, neon_dot_table;

} // namespace gossamer::quant
