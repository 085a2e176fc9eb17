// Products of functions on the sphere, given and wanted by spherical-harmonic coefficients (rows, (L + 1)^2) with (l, m)
// at l * l + l + m. A lane is a row; a block of lanes goes through all stages in the first-level cache.
#pragma once

#include <cstdint>

namespace gossamer::gaunt {

inline constexpr int max_factors = 8;

constexpr std::int64_t harmonics(int degree) { return std::int64_t{degree + 1} * (degree + 1); }
// Where order m begins in a table of (m, l >= m).
constexpr std::int64_t first_of(int degree, int m) { return std::int64_t{m} * (2 * degree + 3 - m) / 2; }

template <class Real>
struct Rows { // row r of the product takes row (r / repeats) % count
    const Real* data;
    std::int64_t count, repeats, width;
    const Real* at(std::int64_t row) const { return data + row / repeats % count * width; }
};

template <class Real>
struct Factor {
    Rows<Real> rows;
    int degree, power;
    const Real* table; // (m, l >= m; pairs): polar functions at the nodes of the northern half
};

// Nodes come in pairs, north and south, at which even l + m agree and odd ones differ in sign; azimuths in fours,
// phi, pi - phi, pi + phi and -phi, which differ in the signs of the four sums over even and odd m of cosines and sines.
template <class Real>
struct Grid {
    int factors;
    Factor<Real> factor[max_factors];
    int degree;                // of the result
    const Real* table;         // (m, l >= m; pairs), with the weights of the integration
    int pairs, quarter;        // azimuths in the first quarter
    const Real *cosine, *sine; // (m, quarter)
};

template <class Real>
struct Linear { // sparse rows
    std::int64_t size;
    const std::int64_t* pointers;
    const std::int32_t* columns;
    const Real* values;
};

// z = C t with t[out] += value * a[left] * b[right] over all terms of a pair, a = A x, b = B y; a size of 0 is identity.
template <class Real>
struct Bilinear {
    Rows<Real> x, y;
    Linear<Real> before_x, before_y, after;
    std::int64_t pairs, size; // of t
    const std::int32_t *left, *right;
    const std::int64_t* pointers; // (pairs + 1)
    const std::int32_t* out;
    const Real* values;
};

// Products with functions that only depend on the angle to a direction of their own: the direction is turned to the
// pole, where orders do not mix, and back.
template <class Real>
struct Aligned {
    Rows<Real> x, filter, turns;      // turns: cosine and sine of azimuth and polar angle of the direction
    int degree, filter_degree, out_degree;
    const Real *table, *filter_table; // (m, l >= m; pairs) of x, (l; pairs) of the filter
    const Real* out_table;
    int pairs;
    Linear<Real> exchange; // of the axes x and y
    Rows<Real> other;      // of the result's degree, where the slope in the filter is asked for
};

template <class Real>
struct Entry {
    void (*grid)(const Grid<Real>&, std::int64_t rows, Real* out, int threads);
    void (*bilinear)(const Bilinear<Real>&, std::int64_t rows, Real* out, int threads);
    void (*aligned)(const Aligned<Real>&, std::int64_t rows, Real* out, int threads);
    void (*aligned_filter)(const Aligned<Real>&, std::int64_t rows, Real* out, int threads);
};

struct Table {
    Entry<float> float32;
    Entry<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::gaunt
