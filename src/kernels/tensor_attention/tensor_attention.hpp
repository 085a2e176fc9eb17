// Softmax attention of queries over pairs (j, k): the logit is sum_l Q[i,l] K1[j,l] K2[k,l], the value V1[j] o V2[k].
// Forward n^3 (2 d + 2 p) flops and n^3 exponentials, backward n^3 (6 d + 6 p); bytes O(n d): pairs live in a cache.
#pragma once

#include <cstdint>

namespace gossamer::tensor_attention {

template <class Real>
struct Problem { // views, row-major, batch first
    std::int64_t batch, m, n1, n2, d, p;
    const Real *q, *k1, *k2, *v1, *v2;   // (m, d) (n1, d) (n2, d) (n1, p) (n2, p)
    const std::int64_t *limit1, *limit2; // (m): query i sees the first limit1[i] and limit2[i] tokens; or null
    const std::uint8_t* mask;            // (batch or 1, n1, n2): 0 hides a pair; or null
    std::int64_t mask_stride;            // numbers from one mask to the next, 0 if there is one
};

template <class Real>
struct Slopes {
    Real *q, *k1, *k2, *v1, *v2;
};

template <class Real>
struct Entries {
    // out (batch, m, p), lse (batch, m): the logarithm of the sum of exponentials, -inf where nothing is seen
    void (*forward)(const Problem<Real>&, Real* out, Real* lse, int threads);
    // delta (batch, m): the products of out with its slope dout (batch, m, p)
    void (*backward)(const Problem<Real>&, const Real* lse, const Real* dout, const Real* delta, const Slopes<Real>&,
                     int threads);
};

struct Table {
    Entries<float> float32;
    Entries<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::tensor_attention
