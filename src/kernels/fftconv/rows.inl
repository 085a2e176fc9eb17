// Sizes that have no tile: lanes are sequences, one of each of `lanes` channels.
#include "../dispatch/dense.hpp"
#include "chain.inl"
#include "pairs.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

// A factor times the rows of a block, in bfloat16 with float32 sums; words and results are planes as large.
template <bool Back>
void block_of_pairs(const View<float>& plan, const Level& factor, float* re, float* im, float* plane, float* first,
                    float* second) {
    const std::int64_t side = factor.radix, row = factor.cells * lanes<float>, block = side * row;
    auto* words = reinterpret_cast<std::uint32_t*>(plane);
    for (std::int64_t n = 0; n < block; n += lanes<float>) {
        const Words pair = rounded_pairs(simd<float>::load(re + n), simd<float>::load(im + n));
        std::memcpy(words + n, &pair, sizeof pair);
    }
    const std::uint32_t* matrices = plan.pairs + factor.fourier + (Back ? 2 : 0) * side * side;
    plan.pair_product(matrices, side, words, row, first);
    plan.pair_product(matrices + side * side, side, words, row, second);
    for (std::int64_t n = 0; n < block; ++n) re[n] = first[n], im[n] = second[n];
}

// Factors as matrices: of F = C + i S and x = a + i b, the three products C a, S b and (C + S)(a + b) make the other two.
// Parts lie in planes behind the working array; columns of a product are places times lanes.
template <class Real, bool Back>
void all_products(const View<Real>& plan, Real* work) {
    constexpr std::int64_t W = lanes<Real>;
    const std::int64_t size = plan.points * W;
    Real *re = work + 2 * size, *im = re + size, *sum = im + size, *first = sum + size, *second = first + size, *third = second + size;
    for (std::int64_t n = 0; n < plan.points; ++n)
        for (std::int64_t lane = 0; lane < W; ++lane) {
            re[n * W + lane] = work[2 * W * n + lane];
            im[n * W + lane] = work[2 * W * n + W + lane];
        }
    for (int i = 0; i < plan.depth; ++i) {
        const Level& factor = plan.levels[Back ? plan.depth - 1 - i : i];
        const std::int64_t side = factor.radix, row = factor.cells * W, block = side * row;
        const Real *c = plan.fourier + factor.fourier, *s = c + side * side, *mixed = s + (Back ? 2 : 1) * side * side;
        const auto turn_rows = [&](std::int64_t at, const Real* w) { // by the block's constants
            for (std::int64_t j = 1; j < side; ++j)
                for (std::int64_t n = at + j * row; n < at + (j + 1) * row; ++n) {
                    const Real a = re[n], b = im[n], v = Back ? -w[2 * j + 1] : w[2 * j + 1];
                    re[n] = a * w[2 * j] - b * v;
                    im[n] = b * w[2 * j] + a * v;
                }
        };
        for (std::int64_t at = 0; at < size; at += block) {
            const Real* w = plan.constants + factor.constants + 2 * side * (at / block);
            if (!Back) turn_rows(at, w);
            bool done = false;
            if constexpr (sizeof(Real) == sizeof(float)) {
                done = plan.pair_product;
                if (done) block_of_pairs<Back>(plan, factor, re + at, im + at, sum, first, second);
            }
            if (!done) {
                for (std::int64_t n = at; n < at + block; ++n) sum[n] = re[n] + im[n];
                panel_times_matrix(c, side, side, side, re + at, row, first, false);
                panel_times_matrix(s, side, side, side, im + at, row, second, false);
                panel_times_matrix(mixed, side, side, side, sum + at, row, third, false);
                for (std::int64_t n = 0; n < block; ++n) {
                    re[at + n] = Back ? first[n] + second[n] : first[n] - second[n];
                    im[at + n] = Back ? third[n] - first[n] + second[n] : third[n] - first[n] - second[n];
                }
            }
            if (Back) turn_rows(at, w);
        }
    }
    for (std::int64_t n = 0; n < plan.points; ++n)
        for (std::int64_t lane = 0; lane < W; ++lane) {
            work[2 * W * n + lane] = re[n * W + lane];
            work[2 * W * n + W + lane] = im[n * W + lane];
        }
}

template <class Real, bool Back>
void all_passes(const View<Real>& plan, Real* work) {
    if (plan.fourier) return all_products<Real, Back>(plan, work);
    for (int i = 0; i < plan.depth; ++i) {
        const int level = Back ? plan.depth - 1 - i : i;
        const Level& factor = plan.levels[level];
        const std::int64_t size = factor.cells * factor.radix, blocks = plan.points / size;
        for (std::int64_t block = 0; block < blocks; ++block)
            whole_pass<Real, Back>(factor.radix, work + offset<Real>(block * size, false),
                                   plan.constants + factor.constants + 2 * factor.radix * block, factor.cells, false);
    }
}

// Sources are (lane, half), those beyond `used` lanes are not looked at.
template <class Real, class Held>
void gather(const View<Real>& plan, const Source<Held>* from, int used, Real* work) {
    constexpr int W = lanes<Real>;
    std::memset(work, 0, sizeof(Real) * static_cast<std::size_t>(spectrum_size(plan)));
    for (int lane = 0; lane < used; ++lane)
        for (int half = 0; half < 2; ++half) {
            const Source<Held>& row = from[2 * lane + half];
            Real* to = work + half * W + lane;
            for (std::int64_t n = row.first; n < row.length; ++n) to[2 * W * n] = value<Real>(row, n);
        }
}

template <class Real, class Held>
void scatter(const Real* work, const Sink<Real, Held>* to, int used) {
    constexpr int W = lanes<Real>;
    for (int lane = 0; lane < used; ++lane)
        for (int half = 0; half < 2; ++half) {
            const Sink<Real, Held>& row = to[2 * lane + half];
            const Real* from = work + half * W + lane;
            for (std::int64_t n = row.first; n < row.length; ++n) put_one(row, n, from[2 * W * n]);
        }
}

template <class Real, class Held>
void kernel_spectrum(const View<Real>& plan, const Source<Held>* taps, int used, Real* work, Real* spectrum) {
    gather(plan, taps, used, work);
    all_passes<Real, false>(plan, work);
    const Real factor = Real(1) / static_cast<Real>(plan.points);
    for (std::int64_t i = 0; i < spectrum_size(plan); ++i) spectrum[i] = factor * work[i];
}

template <class Real, class Held>
void convolve_rows(const View<Real>& plan, const Source<Held>* from, int used, const Real* spectrum, Real* work,
                   const Sink<Real, Held>* to) {
    gather(plan, from, used, work);
    all_passes<Real, false>(plan, work);
    multiply<false>(work, spectrum, spectrum_size(plan));
    all_passes<Real, true>(plan, work);
    scatter(work, to, used);
}

template <class Real, class Held>
void differentiate_rows(const View<Real>& plan, const Source<Held>* grad, const Source<Held>* x, int used,
                        const Real* spectrum, Wanted<Real> wanted, Real* a, Real* b, const Sink<Real, Held>* to_a,
                        const Sink<Real, Held>* to_b) {
    const std::int64_t size = spectrum_size(plan);
    gather(plan, grad, used, a);
    all_passes<Real, false>(plan, a);
    if (wanted.sum || wanted.output) {
        gather(plan, x, used, b);
        all_passes<Real, false>(plan, b);
    }
    if (wanted.sum) accumulate(a, b, wanted.sum, size);
    if (wanted.input) {
        multiply<true>(a, spectrum, size);
        all_passes<Real, true>(plan, a);
        scatter(a, to_a, used);
    }
    if (wanted.output) {
        multiply<false>(b, spectrum, size);
        all_passes<Real, true>(plan, b);
        scatter(b, to_b, used);
    }
}

template <class Real, class Held>
void rows_of(const View<Real>& plan, const Real* spectrum, int used, Real factor, Real* work, const Sink<Real, Held>* to) {
    for (std::int64_t i = 0; i < spectrum_size(plan); ++i) work[i] = factor * spectrum[i];
    all_passes<Real, true>(plan, work);
    scatter(work, to, used);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
