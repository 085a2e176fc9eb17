// One view X (m, p) of a stochastic step: scores Z = (X - offset) U^T, gradient G = R^T (X - offset) + S^T U.
// Flops 2 m p K a pass; bytes m p sizeof(Stored) a pass.
#pragma once

#include <cstdint>

namespace gossamer::multiview {

template <class Stored, class Real>
struct Batch { // a view
    std::int64_t m, p;
    const Stored* x;    // (m, p) row-major
    const Real* offset; // (p)
};

template <class Stored, class Real>
struct Passes {
    // u (K, p), z (m, K)
    void (*scores)(const Batch<Stored, Real>&, const Real* u, std::int64_t K, double* z, int threads);
    // r (m, C) with C >= K: components beyond K get R^T X alone; s (K, K) or null; g (C, p).
    // Returns the sum of squares of the first K rows of g.
    double (*gradient)(const Batch<Stored, Real>&, const Real* r, std::int64_t C, const Real* u, const Real* s,
                       std::int64_t K, Real* g, int threads);
};

struct Moments { // factors of one step of Adam, bias corrections included
    double first, second, rate, epsilon, scale;
};

template <class Real>
using Adam = void (*)(Real* u, const Real* g, Real* first, Real* second, std::int64_t count, const Moments&, int threads);

struct Table {
    Passes<std::int8_t, float> int8;
    Passes<std::uint8_t, float> uint8;
    Passes<std::uint16_t, float> float16; // raw bits
    Passes<float, float> float32;
    Passes<double, double> float64;
    Adam<float> adam32;
    Adam<double> adam64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::multiview
