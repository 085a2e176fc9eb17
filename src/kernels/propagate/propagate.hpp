// y_i = scale_i * sum over the edges (i, j) of weight_ij x_j, and what is done with a row while it is in the cache.
#pragma once

#include <cstdint>

namespace gossamer::propagate {

struct Graph { // a view; indices are checked in Python before they come here
    std::int64_t rows;
    const std::int64_t* indptr;
    const std::int32_t* indices;
    const float* weights; // null: all 1
    const float* scale;   // null: all 1
    const std::int64_t* cuts; // pieces of rows of about equal work, from 0 to rows
    std::int64_t pieces;
};

struct Sparse {
    const std::int64_t* indptr;
    const std::int32_t* indices;
    const float* values;
};

struct After { // null: not asked for
    float* y;
    double* squares;           // += |y_i|^2
    float* total;              // += coefficient_i y_i
    const float* coefficients; // null: alpha / |y_i|, nothing for a zero row
    float alpha;
};

struct Table {
    void (*dense)(const Graph&, const float* x, std::int64_t width, const After&, int threads);
    void (*sparse)(const Graph&, const Sparse& x, std::int64_t width, const After&, int threads);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::propagate
