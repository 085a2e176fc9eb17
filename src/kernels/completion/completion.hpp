// Regressions of low-rank matrix completion: for each line j, min_v |U[rows of j] v - values of j|^2 + ridge_j |v|^2.
// Flops a line of n entries, rank k: cg 4 n k a step; exact n k^2 + k^3 / 3; qr 4 n k^2; sketch 8 n k + 16 k^3 + cg.
#pragma once

#include <cstdint>

namespace gossamer::completion {

enum class Method : int { exact, qr, cg, sketch };

template <class Real, class Index>
struct Observed { // a view: columns of a CSC matrix, or rows of a CSR matrix
    std::int64_t lines;
    const std::int64_t* start;
    const Index* index;
    const Real* value;
};

struct Options {
    Method method;
    double rtol, reduction; // cg ends at |gradient| <= most(rtol |A^T b|, reduction |gradient at the start|)
    std::int64_t steps;     // most steps of cg
    std::uint64_t seed;     // of sketches
};

template <class Real>
struct Problem {
    std::int64_t rank;
    const Real* factor;         // (rows, rank)
    const double* ridge;        // (lines)
    const Real* preconditioner; // (rank, rank) upper R, R^T R near A^T A + ridge up to a scale; nullptr: none
    const std::int64_t* ids;    // lines to solve, the long ones first
    std::int64_t count;
};

template <class Real>
struct Answer {
    Real* x;             // (lines, rank): the start of cg, then the solution
    std::int64_t* steps; // (lines): of cg; -1 where the matrix is rank deficient to working precision, x as it was
    double* loss;        // (lines): |U x - b|^2; nullptr: not wanted
};

template <class Real, class Index>
struct Entry {
    void (*regress)(const Observed<Real, Index>&, const Problem<Real>&, const Options&, const Answer<Real>&,
                    int threads);
    // out[e] = u[row_e] . v[col_e]
    void (*dots)(const Real* u, const Real* v, std::int64_t rank, const Index* rows, const Index* columns,
                 std::int64_t count, Real* out, int threads);
};

struct Table {
    Entry<float, std::int32_t> float32_int32;
    Entry<float, std::int64_t> float32_int64;
    Entry<double, std::int32_t> float64_int32;
    Entry<double, std::int64_t> float64_int64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::completion
