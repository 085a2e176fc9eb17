// One sweep over pixels X (N, L) with shares A (N, K), and non-negative least squares.
// Flops 6 N L K a sweep; bytes N L sizeof(Real).
#pragma once

#include <cstdint>

namespace gossamer::unmix {

template <class Real>
struct Pixels { // a view: value of pixel n, channel l is scale * x[n * pixel_stride + l * channel_stride], one stride is 1
    std::int64_t N, L;
    const Real* x;
    std::int64_t pixel_stride, channel_stride;
    const std::uint8_t* live; // (N) or null: pixels of 0 are passed over, their shares stay
    Real scale;
};

template <class Real>
struct Spectra {
    std::int64_t K;
    const Real *weighted, *plain; // (L, K): times the weights of channels, and as they are
    const Real* gram;             // (K, K), the sum-to-one term included
};

template <class Real>
struct Terms {
    const Real* h;              // (N)
    Real lam, xi, square, floor; // square: of the weight of the sum-to-one term
    int steps;                  // of the shares; 0 only sums
    bool measure;               // false: no sums
};

struct Sums { // overwritten
    double* back;    // (L, K) X^T A
    double* gram;    // (K, K) A^T A
    double* squares; // (L) |x_l - A m_l|^2
    double* terms;   // (2) sum (a + xi)^(1 - h), sum (1 - sum a)^2
};

template <class Real>
using Sweep = void (*)(const Pixels<Real>&, const Spectra<Real>&, const Terms<Real>&, Real* A, const Sums&, int threads);

// a (N, K) = argmin a G a / 2 - a b over a >= 0 for rows b of sides; returns how many rows did not end.
using Nonnegative = std::int64_t (*)(const double* gram, std::int64_t K, const double* sides, std::int64_t N, double* a,
                                     int threads);

struct Table {
    Sweep<float> sweep32;
    Sweep<double> sweep64;
    Nonnegative nonnegative;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::unmix
