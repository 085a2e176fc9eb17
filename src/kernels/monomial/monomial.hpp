// Monomials of points and their sums: F(X)[i, m] = F(X)[i, parent[m]] * X[i, variable[m]], F(X)[i, 0] = 1.
// One multiplication each. A product with p columns adds 2 n r p flops; bytes n (d + p) + r p: the features themselves
// stay in a cache, a tile of points at a time.
#pragma once

#include <cstdint>

namespace gossamer::monomial {

struct Program { // parents come first; feature 0 is the constant
    std::int64_t features;
    const std::int32_t* parent;
    const std::int32_t* variable;
};

template <class Real>
struct Points { // a view (batch, n, d), row-major
    std::int64_t batch, n, d;
    const Real* data;
};

template <class Real>
struct Entries {
    void (*features)(const Program&, const Points<Real>&, Real* f, int threads); // f (batch, n, r)
    // s (batch, r, p) = F^T v for v (batch, n, p)
    void (*accumulate)(const Program&, const Points<Real>&, const Real* v, std::int64_t p, Real* s, int threads);
    // y (batch, n, p) = F w^T for w (batch, p, r)
    void (*apply)(const Program&, const Points<Real>&, const Real* w, std::int64_t p, Real* y, int threads);
    // dx (batch, n, d): the gradient of sum(F o (v s^T)) for v (batch, n, p), s (batch, r, p)
    void (*gradient)(const Program&, const Points<Real>&, const Real* v, const Real* s, std::int64_t p, Real* dx,
                     int threads);
};

struct Table {
    Entries<float> float32;
    Entries<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::monomial
