// Relaxation of A x = b with A = D + L + L^T: sweeps in place, SSOR as a preconditioner, and the loops around them.
// A sweep takes 2 nnz flops and one reading of A; an iteration of SSOR-PCG in Eisenstat's form 3 nnz and one reading.
#pragma once

#include <cstdint>

namespace gossamer::relax {

template <class Index>
struct Csr { // a view: square, columns ascend in a row, the diagonal entry of row i stands at middle[i]
    std::int64_t n;
    const Index *indptr, *indices, *middle;
    const double* data;
    const std::int64_t* levels; // rows levels[c]..levels[c + 1] are not coupled with each other; null: one after another
    std::int64_t level_count;
};

struct Grid { // diagonal on every point, -coupling[k] between neighbours along axis k; x runs fastest
    std::int64_t nx, ny, nz;
    double diagonal, coupling[3];
    bool checkerboard; // even points first, then odd ones; otherwise one after another
};

enum class Form { plain, ssor, eisenstat };

struct Search { // conjugate gradients between two calls; vectors of n
    double *x, *r, *p, *q, *z;
    double *rho; // 0 before the first iteration
};

// What ended an iteration besides its goal and its number of steps.
enum class End { steps, goal, direction, preconditioner, diverged };

struct Outcome {
    std::int64_t steps;
    End end;
    double curvature;
};

template <class Matrix>
struct Entries {
    // r = b - A x; its norm
    double (*residual)(const Matrix&, const double* b, const double* x, double* r, int threads);
    // one sweep of SOR in place, rows in their order or in the reverse one
    void (*sweep)(const Matrix&, const double* b, double omega, bool backward, double* x, int threads);
    // z = M^-1 r with M = (D/w + L) (w/(2-w)) D^-1 (D/w + L)^T
    void (*apply)(const Matrix&, double omega, const double* r, double* z, int threads);
    // sweeps until the norm of b - A x is at most goal; norms[k] after sweep k
    Outcome (*sor)(const Matrix&, const double* b, double omega, bool recurrence, double goal, std::int64_t steps,
                   double* x, double* norms, int threads);
    Outcome (*pcg)(const Matrix&, Form, double omega, double goal, std::int64_t steps, const Search&, double* norms,
                   int threads);
};

template <class Index>
struct Checks {
    // Fills middle; the first row that is wrong, and how: 1 columns out of range or not ascending, 2 no diagonal entry,
    // 3 NaN or infinite entries; -1 if all is well. indptr must have been checked.
    std::int64_t (*prepare)(const Csr<Index>&, Index* middle, int* wrong);
    // max |A v - A^T v| / max(|A| |v|) for a vector of scattered numbers
    double (*asymmetry)(const Csr<Index>&);
    // greedy, in the order of the rows; the pattern is symmetric, its entries are not read
    void (*colour)(const Csr<Index>&, Index* colours);
};

// Regressions of the costs of d parameters on m Chebyshev polynomials of a context, and what ChebCB keeps besides.
struct Regression { // a view
    std::int64_t d, m;
    double *theta, *gram, *moment, *square; // (d, m) in iterations, (d, m, m), (d, m), (d)
    double* bound;                          // of theta, (m)
    std::uint8_t* held;                     // whether bounds hold a regression, (d)
    double* kept;                           // by the names below
    enum { count, most, least, scale, eta, predicted, product, costs, size };
};

struct Learning {
    // the law p of Tsallis-INF over d parameters with weighted losses k, the least of which is 0
    void (*tsallis_law)(const double* k, double eta, std::int64_t d, double* p);
    // the law of the choice at a context x in [-1, 1], and the scaled predictions
    void (*chebcb_law)(const Regression&, double x, double* p, double* scores);
    // take in the cost of a parameter at x, for which `score` was predicted when it was chosen
    void (*chebcb_learn)(const Regression&, double x, std::int64_t index, double cost, double score);
    // min x.Gx / 2 - y.x over |x| <= bound from a feasible x; whether bounds hold
    bool (*least_squares)(const double* gram, const double* y, const double* bound, std::int64_t m, double* x);
};

struct Table {
    Entries<Csr<std::int32_t>> csr32;
    Entries<Csr<std::int64_t>> csr64;
    Entries<Grid> grid;
    Checks<std::int32_t> checks32;
    Checks<std::int64_t> checks64;
    Learning learning;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::relax
