// What an iteration of block coordinate descent does with the columns of a sparse matrix. Sums are double.
// Flops: dots and scatter 2 nnz of the columns; gram t nnz_b (scatter) or the sum of squared row lengths (rows).
#pragma once

#include <cstdint>

namespace gossamer::descent {

template <class Value, class Index>
struct Lines { // a view: the columns of a CSC matrix, or the rows of a CSR matrix
    std::int64_t lines, width;
    const Index* start;
    const Index* index;
    const Value* value;
};

struct Chosen { // lines in the order in which the results come; ids == nullptr: all of them
    const std::int64_t* ids;
    std::int64_t count;
    std::int64_t operator[](std::int64_t i) const { return ids ? ids[i] : i; }
};

template <class Value, class Index>
struct Entries {
    using A = Lines<Value, Index>;
    void (*dots)(const A&, Chosen, const double* w, double* out, int threads);             // out[k] = a_k . w
    void (*scatter)(const A&, Chosen, const double* d, double* z);                         // z += sum_k d[k] a_k
    // out (t, t) = A_b^T diag(weight) A_b; weight == nullptr: ones
    void (*gram)(const A&, Chosen, const double* weight, double* out, int threads);
    // out[k] = sum_j |a_k . a_j|, the rows of A in `rows`
    void (*row_sums)(const A& columns, const A& rows, Chosen, double* out, int threads);
};

struct Quadratic { // min_d g.d + 1/2 d.H d + sum lam |x + d| subject to low <= x + d <= high
    std::int64_t size;
    const double *hessian, *lam, *low, *high;
};

struct Table {
    Entries<float, std::int32_t> float32_int32;
    Entries<float, std::int64_t> float32_int64;
    Entries<double, std::int32_t> float64_int32;
    Entries<double, std::int64_t> float64_int64;
    // cyclic coordinate descent; x and the gradient are updated; returns the sweeps made
    std::int64_t (*coordinates)(const Quadratic&, double* x, double* gradient, std::int64_t sweeps, double tol);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::descent
