// One factor of the chain over one block: in place, or between rows in memory and the working array (edges).
#include "tile.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

// The working array has a spare cell after each `lanes` cells where lanes are columns: cells a power of two apart would
// fall into one set of the cache.
template <class Real>
constexpr std::int64_t offset(std::int64_t cells, bool columns) {
    return 2 * lanes<Real> * (columns ? cells + cells / lanes<Real> : cells);
}

// `count` neighbouring cells of each of R sub-blocks that lie `apart`. Real: imaginary parts are zero before the first
// pass, and not wanted after the last.
template <class Real, int R, bool Back, bool RealOnly>
void pass(Real* at, const Real* constants, std::int64_t apart, std::int64_t count) {
    using V = simd<Real>;
    for (std::int64_t cell = 0; cell < count; ++cell, at += 2 * V::width) {
        Cell<Real> x[R];
#pragma GCC unroll 16
        for (int j = 0; j < R; ++j) {
            if constexpr (RealOnly && !Back) {
                const auto re = V::load(at + j * apart);
                x[j] = j ? Cell<Real>{re * V::splat(constants[2 * j]), re * V::splat(constants[2 * j + 1])}
                         : Cell<Real>{re, typename V::type{}};
            } else {
                x[j] = load_cell(at + j * apart);
                if (!Back && j) x[j] = times<false>(x[j], constants + 2 * j);
            }
        }
        dft<R, Back>(x);
#pragma GCC unroll 16
        for (int j = 0; j < R; ++j) {
            if (Back && j) x[j] = times<true>(x[j], constants + 2 * j);
            if constexpr (RealOnly && Back)
                V::store(at + j * apart, x[j].re);
            else
                store_cell(at + j * apart, x[j]);
        }
    }
}

template <class Real>
using Pass = void (*)(Real*, const Real*, std::int64_t, std::int64_t);

template <class Real, bool Back, bool RealOnly = false>
Pass<Real> pick_pass(int radix) {
    constexpr Pass<Real> all[] = {
        nullptr, pass<Real, 1, Back, RealOnly>, pass<Real, 2, Back, RealOnly>, pass<Real, 3, Back, RealOnly>,
        pass<Real, 4, Back, RealOnly>, pass<Real, 5, Back, RealOnly>, nullptr, pass<Real, 7, Back, RealOnly>,
        pass<Real, 8, Back, RealOnly>};
    return radix == 16 ? pass<Real, 16, Back, RealOnly> : all[radix];
}

// A factor over a whole block, between others.
template <class Real, bool Back>
void whole_pass(int radix, Real* block, const Real* constants, std::int64_t cells, bool columns) {
    const auto run = pick_pass<Real, Back>(radix);
    const std::int64_t apart = offset<Real>(cells, columns), step = columns ? lanes<Real> : cells;
    for (std::int64_t first = 0; first < cells; first += step)
        run(block + offset<Real>(first, columns), constants, apart, step);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
