// Algebraic multigrid by matching: coarsening in pairs along a vector, and the two smoothing sweeps of a cycle.
// Flops of a cycle on a level: descend 3 nnz from a start, 2 nnz from zero; ascend 2 nnz. Matching reads A once or twice.
#pragma once

#include "../relax/relax.hpp"

#include <vector>

namespace gossamer::multigrid {

template <class Index>
using Csr = relax::Csr<Index>; // square, symmetric, columns ascend, `middle` points at the diagonal

template <class Index>
struct Sweeps {
    // a forward Gauss-Seidel sweep in place, from zero if `zero`, and r = b - A x after it
    void (*descend)(const Csr<Index>&, const double* b, bool zero, double* x, double* r);
    // a backward one
    void (*ascend)(const Csr<Index>&, const double* b, double* x);
};

struct Table {
    Sweeps<std::int32_t> csr32;
    Sweeps<std::int64_t> csr64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

// What follows has one source for every instruction set.

// weight[k] = |1 - 2 a_ij w_i w_j / (a_ii w_i^2 + a_jj w_j^2)|, the machine's epsilon where the denominator is not above
// it, 0 on the diagonal; the value above the diagonal stands below it too. The first row whose entries have no
// counterpart, or -1.
template <class Index>
std::int64_t compatibility(const Csr<Index>&, const double* w, double* weight);

// Matching of locally heaviest edges (Suitor): mate[i], or -1. Equal weights: the smaller (least end, greatest end) first.
template <class Index>
void match(const Csr<Index>&, const double* weight, Index* mate);

template <class Index>
struct Coarse {
    std::vector<Index> indptr, indices;
    std::vector<double> data;
};

// P^T A P for P with one entry a row: p[i] in column group[i], or none where group[i] = -1. Symmetric to the last bit.
template <class Index>
Coarse<Index> galerkin(const Csr<Index>&, const Index* group, const double* p, std::int64_t groups);

} // namespace gossamer::multigrid
