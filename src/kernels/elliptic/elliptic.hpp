// Incomplete Cholesky factors without fill, and the difference star of a grid whose faces have weights.
// Two triangular solves take 4 nnz(L) flops; the star reads d + 2 numbers a cell.
#pragma once

#include <cstdint>

namespace gossamer::elliptic {

template <class Index>
struct Lower { // a view of a lower triangle by columns; rows ascend in a column, so that the diagonal comes first
    std::int64_t n;
    const Index *indptr, *indices;
    double* data; // in a factor, diagonal entries stand as their inverses
};

struct Star { // y = diagonal x - sum over axes of w x(next) and w(before) x(before)
    std::int64_t n, axes;
    std::int64_t stride[3]; // to the next cell along an axis
    const double* diagonal; // (n)
    const double* weight;   // (axes, n); 0 on the last cells along their axis
};

template <class Index>
struct Entries {
    // L with L L^T = A on the pattern of A, in place; the column at which a pivot is too small, or -1.
    // `modified` times what is dropped goes to the diagonal; `shift` is added to the diagonal, relative to it.
    std::int64_t (*factor)(const Lower<Index>&, double modified, double shift);
    // z = L^-T L^-1 r
    void (*solve)(const Lower<Index>&, const double* r, double* z);
};

struct Table {
    Entries<std::int32_t> lower32;
    Entries<std::int64_t> lower64;
    // y for `count` fields, one after the other
    void (*star)(const Star&, const double* x, std::int64_t count, double* y, int threads);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::elliptic
