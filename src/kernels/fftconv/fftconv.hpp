// Convolutions of many real rows by a chain of short transforms (Monarch order), fused from the load of the input and its
// gate to the store of the gated output. The spectrum is never reordered.
//
// A plan transforms sequences of `points` complex numbers: sub-transform `radix` by `radix`, the first one over the rows
// of the view (radix, points / radix). Its twiddle factors are constants of a block: evaluating a polynomial modulo
// z^S - c at the roots of c, for S = radix T, leaves polynomials modulo z^T - c', one for each root c'. So the chain
// starts as well from c = i ("twisted") as from c = 1: modulo z^M - i, the number x[n] + i x[n + M] stands for 2 M real
// ones, and products are exact negacyclic convolutions of them. A padded causal convolution needs no more.
#pragma once

#include <cstdint>
#include <vector>

namespace gossamer::fftconv {

using bfloat16 = std::uint16_t; // raw bits

struct Level {
    int radix;
    std::int64_t cells;     // of each sub-block
    std::int64_t constants; // where its twiddle factors start: (block, radix) complex numbers
    std::int64_t fourier;   // where its matrices start
};

// out (side, n) = x (side, n) times one part, real or imaginary, of a matrix: words of two bfloat16, float32 sums
using PairProduct = void (*)(const std::uint32_t* matrix, std::int64_t side, const std::uint32_t* x, std::int64_t n, float* out);

// Columns: lanes of a vector are neighbours of one sequence, and the last two factors, both `lanes`, are a tile that is
// transposed between them. Rows: lanes are different sequences; its short transforms may be matrix products.
template <class Real>
struct View {
    std::int64_t points;
    int lanes;
    bool columns, twisted;
    const Level* levels;
    int depth;
    const Real* constants;
    std::int64_t tile_constants; // where those of tiles start: (tile, lanes)
    const Real* tile_lanes;      // (tile, lanes, re or im, lanes)
    const Real* fourier;         // of each level C, S, C + S and C - S with F = C + i S, where it is multiplied; else null
    const std::uint32_t* pairs;  // the same in bfloat16: what gives real and imaginary parts forward, then back
    PairProduct pair_product;    // multiplies those, null: float32
};

template <class Real>
struct Plan {
    Plan(std::int64_t points, std::vector<int> radices, bool columns, bool twisted, bool products,
         int lanes);
    View<Real> view(PairProduct pair_product) const;
    std::int64_t tiles() const { return columns ? points / (std::int64_t{lanes} * lanes) : 0; }

    std::int64_t points;
    int lanes;
    bool columns, twisted;
    std::vector<Level> levels;
    std::vector<Real> constants, tile_lanes, fourier;
    std::vector<std::uint32_t> pairs;
    std::int64_t tile_constants = 0;
};

// Arrays of a call; those that may be missing are null. Arrays (batch, channels, length) are contiguous.
//
// With a `step` rows are cut into windows that a twisted plan holds: each gives `step` outputs and reads taps - 1 points
// before them (behind them, backward), in place. u may have `history` points before the first output's.
struct Shape {
    std::int64_t batch, channels, length, taps;
    std::int64_t history = 0, step = 0;
};

template <class Real, class Held>
struct Forward {
    Shape shape;
    const Held* u;
    const Held* k;        // (channels, taps), or
    const Real* spectrum; // (channels, spectrum_size)
    const Held *before, *after, *skip;
    Held* y;
    const std::uint8_t* live; // for each tile: whether its part of the spectrum is kept
};

template <class Real, class Held>
struct Backward {
    Shape shape;
    const Held *dy, *u;
    const Held* k;        // (channels, taps), or
    const Real* spectrum; // (channels, spectrum_size)
    const Held *before, *after, *skip;
    Held *du, *dbefore, *dafter;
    Real* dk;      // (channels, taps)
    double* dskip; // (channels,)
    const std::uint8_t* live; // as forward; dk is then that of the taps of the kept part
};

template <class Real, class Held>
using Convolve = void (*)(const View<Real>& plan, const Forward<Real, Held>& call, int threads);
template <class Real, class Held>
using Differentiate = void (*)(const View<Real>& plan, const Backward<Real, Held>& call, int threads);
// spectrum[channel] of k[channel], scaled by 1 / points and by weights (tile, lanes, lanes), which may be null; zero in
// tiles that are not live
template <class Real>
using Spectrum = void (*)(const View<Real>& plan, const Real* k, Shape shape, const std::uint8_t* live,
                          const Real* weights, Real* spectrum, int threads);
// rows of complex numbers to their spectra in the plan's own order, or back (without the factor 1 / points)
template <class Real>
using Transform = void (*)(const View<Real>& plan, const Real* from, Real* to, std::int64_t rows, bool inverse, int threads);

// Rows of `length` points, and of `coarse` on a ring `factor` (2, 4, 8 or 16) times as coarse that turns signs where it
// closes. The window is (factor, 2 reach): at distance r + (q - reach) factor.
struct Grids {
    std::int64_t rows, length, coarse, factor, reach;
};
template <class Real>
using Resample = void (*)(const Grids& grids, const Real* from, const Real* window, Real* to, int threads);

// Low frequencies alone: filters and rows are sampled to the ring of a padded plan of columns, and come back.
template <class Real>
struct LowPass {
    Shape shape; // of the fine rows
    std::int64_t factor, reach;
    const Real *window, *weights; // weights as for a spectrum
    const Real *u, *k;
    Real* y;        // forward
    const Real* dy; // backward
    Real *du, *dk;  // may be missing
};
template <class Real>
using RunLowPass = void (*)(const View<Real>& plan, const LowPass<Real>& call, int threads);

template <class Real, class Held>
struct Entries {
    Convolve<Real, Held> convolve;
    Differentiate<Real, Held> differentiate;
};

struct Table {
    int bytes; // of a vector
    Entries<float, float> float32;
    Entries<double, double> float64;
    Entries<float, bfloat16> bfloat16_in_float32;
    Spectrum<float> spectrum32;
    Spectrum<double> spectrum64;
    Transform<float> transform32;
    Transform<double> transform64;
    PairProduct pair_product; // emulated
    Resample<float> decimate32, interpolate32;
    Resample<double> decimate64, interpolate64;
    RunLowPass<float> lowpass32, lowpass_back32;
    RunLowPass<double> lowpass64, lowpass_back64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;
extern const PairProduct avx512bf16_pair_product;

} // namespace gossamer::fftconv
