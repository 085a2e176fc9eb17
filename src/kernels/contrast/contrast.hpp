// Positive terms of contrastive losses on graphs: p_i = sum over stored (i, j) of g_ij exp(tau s_ij), with s_ij the inner
// product of rows i and j of u, and s_ii = 0. Flops 2 nnz width and nnz exponentials forward, twice the flops backward.
#pragma once

#include <cstdint>

namespace gossamer::contrast {

inline constexpr std::int64_t lanes = 16; // rows of u are padded by zeros to a multiple of this

template <class Real>
struct Strengths { // a view of a symmetric pattern; indices are checked in Python before they come here
    std::int64_t rows;
    const std::int64_t* indptr;
    const std::int32_t* indices;
    const Real* there; // g_ij
    const Real* back;  // g_ji
};

template <class Real>
struct Points {
    const Real* u;
    std::int64_t width; // a multiple of `lanes`
    Real tau;
};

template <class Real>
using Sums = void (*)(const Strengths<Real>&, const Points<Real>&, Real* p, int threads);

// From slopes dL/dp the slopes dL/du: tau sum over j of (slope_i g_ij + slope_j g_ji) exp(tau s_ij) u_j, without j = i.
template <class Real>
using Gradient = void (*)(const Strengths<Real>&, const Points<Real>&, const Real* slope, Real* to, int threads);

struct Table {
    Sums<float> sums_float32;
    Sums<double> sums_float64;
    Gradient<float> gradient_float32;
    Gradient<double> gradient_float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::contrast
