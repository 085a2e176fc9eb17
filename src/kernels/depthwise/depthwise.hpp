// y[t] = bias + sum_j w[j] x[t + j - left], zero outside, for each channel of each sequence.
#pragma once

#include <cstdint>

namespace gossamer::depthwise {

using bfloat16 = std::uint16_t; // raw bits

struct Shape {
    std::int64_t batch, channels, length; // of the input
    std::int64_t outputs;                 // of a sequence
    std::int64_t taps, left;
    bool by_token; // (batch, length, channels); else (batch, channels, length)
};

// Taps and bias are (channels, taps) and (channels,), in the type of the arithmetic; bias may be null.
template <class Real, class Held>
using Convolve = void (*)(Shape shape, const Held* x, const Real* taps, const Real* bias, Held* y, int threads);
// dtaps[c, j] = sum over batch and t of dy[t] x[t + j - left]; dbias[c] = sum of dy
template <class Real, class Held>
using Correlate = void (*)(Shape shape, const Held* x, const Held* dy, Real* dtaps, Real* dbias, int threads);

template <class Real, class Held>
struct Entries {
    Convolve<Real, Held> convolve;
    Correlate<Real, Held> correlate;
};

struct Table {
    Entries<float, float> float32;
    Entries<double, double> float64;
    Entries<float, bfloat16> bfloat16_in_float32;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

} // namespace gossamer::depthwise
