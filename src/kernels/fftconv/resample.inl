// Rows to and from a grid `factor` times as coarse, on which their low frequencies are all there is.
#include "units.inl"

#include <utility>

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

template <int Start, int... I, class V>
GOSSAMER_INLINE V every_second(V a, V b, std::integer_sequence<int, I...>) { return pick<Start + 2 * I...>(a, b); }
template <int Start, int... I, class V>
GOSSAMER_INLINE V alternate(V a, V b, std::integer_sequence<int, I...>) {
    return pick<(Start + I / 2 + (I % 2) * static_cast<int>(sizeof...(I)))...>(a, b);
}

// Neighbours of `Factor` vectors in a row to one vector a phase, or back; phases come in reversed order of bits.
template <int Factor, class Real>
GOSSAMER_INLINE void split_phases(typename simd<Real>::type* v) {
    if constexpr (Factor > 1) {
        constexpr std::make_integer_sequence<int, lanes<Real>> all{};
        typename simd<Real>::type odd[Factor / 2];
#pragma GCC unroll 8
        for (int i = 0; i < Factor / 2; ++i) {
            odd[i] = every_second<1>(v[2 * i], v[2 * i + 1], all);
            v[i] = every_second<0>(v[2 * i], v[2 * i + 1], all);
        }
#pragma GCC unroll 8
        for (int i = 0; i < Factor / 2; ++i) v[Factor / 2 + i] = odd[i];
        split_phases<Factor / 2, Real>(v);
        split_phases<Factor / 2, Real>(v + Factor / 2);
    }
}
template <int Factor, class Real>
GOSSAMER_INLINE void join_phases(typename simd<Real>::type* v) {
    if constexpr (Factor > 1) {
        join_phases<Factor / 2, Real>(v);
        join_phases<Factor / 2, Real>(v + Factor / 2);
        constexpr std::make_integer_sequence<int, lanes<Real>> all{};
        typename simd<Real>::type both[Factor];
#pragma GCC unroll 8
        for (int i = 0; i < Factor / 2; ++i) {
            both[2 * i] = alternate<0>(v[i], v[Factor / 2 + i], all);
            both[2 * i + 1] = alternate<lanes<Real> / 2>(v[i], v[Factor / 2 + i], all);
        }
#pragma GCC unroll 16
        for (int i = 0; i < Factor; ++i) v[i] = both[i];
    }
}

template <int Factor>
constexpr int phase(int place) { // bits reversed
    int out = 0;
    for (int bit = 1; bit < Factor; bit *= 2) out = 2 * out + (place / bit) % 2;
    return out;
}

inline std::int64_t coarse_points(const Grids& grids) { // that a row reaches, from -reach on
    return ceil_div(grids.length, grids.factor) + 2 * grids.reach;
}
template <class Real>
std::int64_t phase_stride(const Grids& grids) { return round_up(coarse_points(grids) + 2 * grids.reach + 4 * lanes<Real>, lanes<Real>); }

// out[m] = sum of window[n - m factor] x[n], on the ring where what passes the end comes back with the sign changed.
template <int Factor, class Real>
void decimate_row(const Grids& grids, const Real* x, const Real* window, Real* work, Real* out) {
    using V = simd<Real>;
    constexpr int W = lanes<Real>, at_once = 4;
    const std::int64_t reach = grids.reach, count = coarse_points(grids), before = 2 * reach;
    const std::int64_t stride = phase_stride<Real>(grids);
    for (int r = 0; r < Factor; ++r) {
        Real* row = work + r * stride;
        for (std::int64_t i = 0; i < before; ++i) row[i] = 0;
        for (std::int64_t i = before + grids.length / Factor; i < stride; ++i) row[i] = 0;
    }
    std::int64_t n = 0;
    for (; n + Factor * W <= grids.length; n += Factor * W) {
        typename V::type v[Factor];
#pragma GCC unroll 16
        for (int i = 0; i < Factor; ++i) v[i] = V::load(x + n + i * W);
        split_phases<Factor, Real>(v);
#pragma GCC unroll 16
        for (int i = 0; i < Factor; ++i) V::store(work + phase<Factor>(i) * stride + before + n / Factor, v[i]);
    }
    for (; n < grids.length; ++n) work[n % Factor * stride + before + n / Factor] = x[n];
    Real* sums = work + Factor * stride; // of places from -reach on
    for (std::int64_t m = 0; m < count; m += at_once * W) {
        typename V::type sum[at_once] = {};
        for (int r = 0; r < Factor; ++r)
            for (std::int64_t q = 0; q < 2 * reach; ++q) {
                const auto tap = V::splat(window[r * 2 * reach + q]);
                for (int i = 0; i < at_once; ++i) sum[i] += tap * V::load(work + r * stride + m + q + i * W);
            }
        for (int i = 0; i < at_once && m + i * W < stride; ++i) V::store(sums + m + i * W, sum[i]);
    }
    const std::int64_t inside = least(count - reach, grids.coarse);
    for (std::int64_t m = 0; m < inside; ++m) out[m] = sums[m + reach];
    for (std::int64_t m = inside; m < grids.coarse; ++m) out[m] = 0;
    for (std::int64_t m = 0; m < reach; ++m) out[m - reach + grids.coarse] -= sums[m];
    for (std::int64_t m = inside; m < count - reach; ++m) out[m - grids.coarse] -= sums[m + reach];
}

// The transpose: y[n] = sum of window[n - m factor] x[m].
template <int Factor, class Real>
void interpolate_row(const Grids& grids, const Real* x, const Real* window, Real* work, Real* y) {
    using V = simd<Real>;
    constexpr int W = lanes<Real>;
    const std::int64_t reach = grids.reach, count = coarse_points(grids), stride = phase_stride<Real>(grids);
    const std::int64_t inside = least(count - reach, grids.coarse);
    for (std::int64_t m = 0; m < reach; ++m) work[m] = -x[m - reach + grids.coarse]; // from -reach on
    for (std::int64_t m = 0; m < inside; ++m) work[m + reach] = x[m];
    for (std::int64_t m = inside; m < count - reach; ++m) work[m + reach] = -x[m - grids.coarse];
    for (std::int64_t m = count; m < stride; ++m) work[m] = 0;
    for (std::int64_t n = 0; n < grids.length; n += Factor * W) {
        typename V::type v[Factor] = {};
        for (std::int64_t q = 0; q < 2 * reach; ++q) { // the window at r + (q - reach) factor meets place m - q + reach
            const auto near = V::load(work + n / Factor - q + 2 * reach);
#pragma GCC unroll 16
            for (int i = 0; i < Factor; ++i) v[i] += V::splat(window[phase<Factor>(i) * 2 * reach + q]) * near;
        }
        join_phases<Factor, Real>(v);
        Real block[Factor * W];
        const bool whole = n + Factor * W <= grids.length;
        Real* to = whole ? y + n : block;
#pragma GCC unroll 16
        for (int i = 0; i < Factor; ++i) V::store(to + i * W, v[i]);
        if (!whole) std::memcpy(y + n, block, sizeof(Real) * static_cast<std::size_t>(grids.length - n));
    }
}

template <class Real, bool Back>
void resample(const Grids& grids, const Real* x, const Real* window, Real* y, int threads) {
    threads = worthwhile_threads(grids.rows * grids.length * 4 * grids.reach, threads);
    Scratch scratch(static_cast<std::int64_t>(sizeof(Real)) * (grids.factor + 1) * phase_stride<Real>(grids), threads);
    const auto row = [&]<int Factor>(std::int64_t number, Real* work) {
        if constexpr (Back) interpolate_row<Factor>(grids, x + number * grids.coarse, window, work, y + number * grids.length);
        else decimate_row<Factor>(grids, x + number * grids.length, window, work, y + number * grids.coarse);
    };
    parallel_chunks_by_thread(grids.rows, threads, [&](std::int64_t number, int thread) {
        Real* work = reinterpret_cast<Real*>(scratch.part(thread));
        if (grids.factor == 2) row.template operator()<2>(number, work);
        else if (grids.factor == 4) row.template operator()<4>(number, work);
        else if (grids.factor == 8) row.template operator()<8>(number, work);
        else row.template operator()<16>(number, work);
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
