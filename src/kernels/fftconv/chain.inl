// The whole chain over one working array: descend to tiles depth first, so that what a tile needs is still in the cache.
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "edges.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

// Taps that decay leave denormal numbers, which are slow and say nothing.
struct FlushDenormals {
#if defined(__x86_64__)
    unsigned kept = _mm_getcsr();
    FlushDenormals() { _mm_setcsr(kept | 0x8040u); }
    ~FlushDenormals() { _mm_setcsr(kept); }
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;
#if !defined(__x86_64__)
    FlushDenormals() {}
#endif
};

template <class Real>
std::int64_t spectrum_size(const View<Real>& plan) { // in reals: of a channel, or of `lanes` channels where lanes are rows
    return 2 * plan.points * (plan.columns ? 1 : lanes<Real>);
}
template <class Real>
std::int64_t work_size(const View<Real>& plan) { // of a working array; products need three as large again
    if (plan.columns) return offset<Real>(plan.points / lanes<Real>, true);
    return spectrum_size(plan) * (plan.fourier ? 4 : 1);
}

template <class Real>
inline constexpr std::int64_t tile_size = 2 * lanes<Real> * lanes<Real>;

template <class Real>
struct Tile { // its constants
    const Real *constants, *lane_constants;
    Tile(const View<Real>& plan, std::int64_t number)
        : constants(plan.constants + plan.tile_constants + 2 * lanes<Real> * number),
          lane_constants(plan.tile_lanes + tile_size<Real> * number) {}
};

// Work on up to two arrays in step: passes forth on those whose bit is set, leaf(tile, arrays), passes back likewise.
template <class Real, class Leaf>
struct Descent {
    const View<Real>& plan;
    int count;
    unsigned forth, back;
    const std::uint8_t* live; // tiles that are wanted; null: all
    const Leaf& leaf;

    void run(int level, std::int64_t block, std::int64_t tiles, Real* first, Real* second) const {
        Real* work[2] = {first, second};
        if (live && !any(block * tiles, tiles)) {
            for (int i = 0; i < count; ++i)
                if (back >> i & 1u) std::memset(work[i], 0, sizeof(Real) * static_cast<std::size_t>(offset<Real>(tiles * lanes<Real>, true)));
            return;
        }
        if (level == plan.depth) return leaf(block, first, second);
        const Level& factor = plan.levels[level];
        const Real* constants = plan.constants + factor.constants + 2 * factor.radix * block;
        if (level)
            for (int i = 0; i < count; ++i)
                if (forth >> i & 1u) whole_pass<Real, false>(factor.radix, work[i], constants, factor.cells, true);
        const std::int64_t apart = offset<Real>(factor.cells, true);
        for (int f = 0; f < factor.radix; ++f)
            run(level + 1, block * factor.radix + f, tiles / factor.radix, first + f * apart,
                count > 1 ? second + f * apart : nullptr);
        if (level)
            for (int i = 0; i < count; ++i)
                if (back >> i & 1u) whole_pass<Real, true>(factor.radix, work[i], constants, factor.cells, true);
    }

    bool any(std::int64_t from, std::int64_t tiles) const {
        for (std::int64_t t = from; t < from + tiles; ++t)
            if (live[t]) return true;
        return false;
    }
};

template <class Real, class Leaf>
void descend(const View<Real>& plan, int count, unsigned forth, unsigned back, const std::uint8_t* live, Real* first,
             Real* second, const Leaf& leaf) {
    Descent<Real, Leaf>{plan, count, forth, back, live, leaf}.run(0, 0, plan.points / (lanes<Real> * lanes<Real>), first, second);
}

// spectrum *= real weights
template <class Real>
void weigh(const Real* weights, Real* spectrum, std::int64_t size) {
    for (std::int64_t i = 0; i < size; i += 2 * lanes<Real>) {
        const auto w = simd<Real>::load(weights + i / 2);
        const Cell<Real> x = load_cell(spectrum + i);
        store_cell(spectrum + i, Cell<Real>{x.re * w, x.im * w});
    }
}

// The scaled spectrum of one row of taps, through a working array.
template <class Real, class Held>
void kernel_spectrum(const View<Real>& plan, const Source<Held>* taps, const std::uint8_t* live, const Real* weights,
                     Real* work, Real* spectrum) {
    enter(plan, taps, work);
    const Real factor = Real(1) / static_cast<Real>(plan.points);
    if (live) std::memset(spectrum, 0, sizeof(Real) * static_cast<std::size_t>(spectrum_size(plan)));
    descend(plan, 1, 1u, 0u, live, work, static_cast<Real*>(nullptr), [&](std::int64_t number, Real* tile, Real*) {
        const Tile<Real> own(plan, number);
        tile_forward<Product::none>(tile, own.constants, own.lane_constants, tile);
        Real* to = spectrum + tile_size<Real> * number;
        for (std::int64_t i = 0; i < tile_size<Real>; ++i) to[i] = factor * tile[i];
        if (weights) weigh(weights + tile_size<Real> * number / 2, to, tile_size<Real>);
    });
}

template <class Real, class Held>
void convolve_rows(const View<Real>& plan, const Source<Held>* from, const Real* spectrum, const std::uint8_t* live,
                   Real* work, const Sink<Real, Held>* to) {
    enter(plan, from, work);
    descend(plan, 1, 1u, 1u, live, work, static_cast<Real*>(nullptr), [&](std::int64_t number, Real* tile, Real*) {
        const Tile<Real> own(plan, number);
        tile_forward<Product::kernel>(tile, own.constants, own.lane_constants, spectrum + tile_size<Real> * number);
        tile_inverse(tile, own.constants, own.lane_constants);
    });
    leave(plan, work, to);
}

// sum += conj(b) a
template <class Real>
void accumulate(const Real* a, const Real* b, Real* sum, std::int64_t size) {
    constexpr int W = lanes<Real>;
    for (std::int64_t i = 0; i < size; i += 2 * W) {
        const Cell<Real> x = load_cell(b + i);
        store_cell(sum + i, load_cell(sum + i) + times<true>(load_cell(a + i), x.re, x.im));
    }
}

// x *= k, or conj(k)
template <bool Conjugate, class Real>
void multiply(Real* x, const Real* k, std::int64_t size) {
    constexpr int W = lanes<Real>;
    for (std::int64_t i = 0; i < size; i += 2 * W) {
        const Cell<Real> y = load_cell(k + i);
        store_cell(x + i, times<Conjugate>(load_cell(x + i), y.re, y.im));
    }
}

// What a backward step wants; the sum of spectra is null where no gradient of the kernel is wanted.
template <class Real>
struct Wanted {
    bool input, output; // correlation with the kernel; the convolution again
    Real* sum;
};

// grad: the gradient of the convolution's output; x: its input.
template <class Real, class Held>
void differentiate_rows(const View<Real>& plan, const Source<Held>* grad, const Source<Held>* x, const Real* spectrum,
                        const std::uint8_t* live, Wanted<Real> wanted, Real* a, Real* b, const Sink<Real, Held>* to_a, const Sink<Real, Held>* to_b) {
    const int count = wanted.sum || wanted.output ? 2 : 1;
    enter(plan, grad, a);
    if (count > 1) enter(plan, x, b);
    const unsigned back = (wanted.input ? 1u : 0u) | (wanted.output ? 2u : 0u);
    constexpr std::int64_t size = tile_size<Real>;
    descend(plan, count, 3u, back, live, a, b, [&](std::int64_t number, Real* p, Real* q) {
        const Tile<Real> own(plan, number);
        const Real* k = spectrum + size * number;
        tile_forward<Product::none>(p, own.constants, own.lane_constants, p);
        if (count > 1) tile_forward<Product::none>(q, own.constants, own.lane_constants, q);
        if (wanted.sum) accumulate(p, q, wanted.sum + size * number, size);
        if (wanted.input) {
            multiply<true>(p, k, size);
            tile_inverse(p, own.constants, own.lane_constants);
        }
        if (wanted.output) {
            multiply<false>(q, k, size);
            tile_inverse(q, own.constants, own.lane_constants);
        }
    });
    if (wanted.input) leave(plan, a, to_a);
    if (wanted.output) leave(plan, b, to_b);
}

// Rows of a spectrum, times a factor.
template <class Real, class Held>
void rows_of(const View<Real>& plan, const Real* spectrum, const std::uint8_t* live, Real factor, Real* work,
             const Sink<Real, Held>* to) {
    descend(plan, 1, 0u, 1u, live, work, static_cast<Real*>(nullptr), [&](std::int64_t number, Real* tile, Real*) {
        const Tile<Real> own(plan, number);
        const Real* from = spectrum + tile_size<Real> * number;
        for (std::int64_t i = 0; i < tile_size<Real>; ++i) tile[i] = factor * from[i];
        tile_inverse(tile, own.constants, own.lane_constants);
    });
    leave(plan, work, to);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
