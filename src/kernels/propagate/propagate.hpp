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

struct Columns { // sums over rows of x - shift and of its square, apart for each piece of rows
    const float* shift;
    double* sums;    // (pieces, width)
    double* squares; // (pieces, width)
    std::int64_t piece; // rows
};

struct Table {
    void (*dense)(const Graph&, const float* x, std::int64_t width, const After&, int threads);
    void (*sparse)(const Graph&, const Sparse& x, std::int64_t width, const After&, int threads);
    // out_i = coefficient_i y_i, or += where `add`; rows of out are `stride` apart
    void (*scale)(const float* y, const float* coefficients, std::int64_t rows, std::int64_t width, float* out,
                  std::int64_t stride, bool add, int threads);
    void (*moments)(const float* x, std::int64_t rows, std::int64_t width, const Columns&, int threads);
    // x_ij = (x_ij - mean_j) inverse_j
    void (*standardize)(float* x, std::int64_t rows, std::int64_t width, const double* mean, const double* inverse,
                        int threads);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::propagate
