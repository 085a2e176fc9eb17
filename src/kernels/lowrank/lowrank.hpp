// Low-rank terms: Y[O, N] += L[O, r] (R[r, K] X[K, N]), row-major, alone or inside another family's product.
// Flops 2 r (O + K) N; bytes those of the factors + X + Y (twice if alone).
#pragma once

#include "../quant/groups.hpp"

namespace gossamer::lowrank {

enum class Storage { float32, float64, bfloat16, codes };

struct Factor { // a view
    Storage storage;
    std::int64_t rows, cols;
    const void* values;          // rows in order; null for codes
    std::int64_t groups_per_row; // of codes: groups_per_row * group >= cols
    QuantisedGroups groups;
};

struct Term {
    Factor left, right; // left.cols == right.rows, the rank
};

template <class Real>
using Add = void (*)(const Term&, const Real* x, std::int64_t n, Real* y, int threads);

struct Table {
    Add<float> float32;
    Add<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::lowrank
