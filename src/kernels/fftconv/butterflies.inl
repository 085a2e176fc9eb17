// Short transforms of complex vectors in registers, natural order in and out. Back: with the conjugate roots.
#include "../dispatch/simd.hpp"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

template <class Real>
struct Cell { // in memory: the real parts of a vector of complex numbers, then the imaginary ones
    using V = typename simd<Real>::type;
    V re, im;
};

template <class Real>
inline constexpr int lanes = simd<Real>::width;

template <class Real>
GOSSAMER_INLINE Cell<Real> load_cell(const Real* p) {
    return {simd<Real>::load(p), simd<Real>::load(p + lanes<Real>)};
}
template <class Real>
GOSSAMER_INLINE void store_cell(Real* p, Cell<Real> x) {
    simd<Real>::store(p, x.re);
    simd<Real>::store(p + lanes<Real>, x.im);
}

template <class Real>
GOSSAMER_INLINE Cell<Real> operator+(Cell<Real> a, Cell<Real> b) { return {a.re + b.re, a.im + b.im}; }
template <class Real>
GOSSAMER_INLINE Cell<Real> operator-(Cell<Real> a, Cell<Real> b) { return {a.re - b.re, a.im - b.im}; }

// x w, or x conj(w)
template <bool Conjugate, class Real, class W>
GOSSAMER_INLINE Cell<Real> times(Cell<Real> x, W re, W im) {
    if constexpr (Conjugate) return {x.re * re + x.im * im, x.im * re - x.re * im};
    return {x.re * re - x.im * im, x.im * re + x.re * im};
}
// by the constant at p
template <bool Conjugate, class Real>
GOSSAMER_INLINE Cell<Real> times(Cell<Real> x, const Real* p) {
    return times<Conjugate>(x, simd<Real>::splat(p[0]), simd<Real>::splat(p[1]));
}

// -i x, or i x
template <bool Back, class Real>
GOSSAMER_INLINE Cell<Real> turn(Cell<Real> x) {
    if constexpr (Back) return {-x.im, x.re};
    return {x.im, -x.re};
}

// exp(-2 pi i Step / 16) x, or its conjugate
template <int Step, bool Back, class Real>
GOSSAMER_INLINE Cell<Real> sixteenth(Cell<Real> x) {
    constexpr Real half = Real(0.70710678118654752440), c = Real(0.92387953251128675613), s = Real(0.38268343236508977173);
    if constexpr (Step == 0) return x;
    if constexpr (Step == 4) return turn<Back>(x);
    if constexpr (Step == 2 || Step == 6) {
        const Cell<Real> y = turn<Back>(x), z = Step == 2 ? x + y : y - x;
        return {z.re * half, z.im * half};
    }
    constexpr Real re = Step == 1 ? c : Step == 3 ? s : -c, im = Step == 1 ? -s : Step == 3 ? -c : s;
    static_assert(Step <= 4 || Step == 6 || Step == 9);
    return times<Back>(x, simd<Real>::splat(re), simd<Real>::splat(im));
}

template <bool Back, class C>
GOSSAMER_INLINE void dft2(C& a, C& b) {
    const C sum = a + b;
    b = a - b;
    a = sum;
}

template <bool Back, class C>
GOSSAMER_INLINE void dft4(C& a, C& b, C& c, C& d) {
    const C p = a + c, q = a - c, r = b + d, s = turn<Back>(b - d);
    a = p + r;
    b = q + s;
    c = p - r;
    d = q - s;
}

// Odd primes: sums and differences of mirrored pairs meet cosines and sines.
template <int R, bool Back, class Real>
GOSSAMER_INLINE void dft_prime(Cell<Real> (&x)[R]) {
    constexpr double cosines[8][7] = {{}, {}, {}, {1, -0.5, -0.5}, {},
        {1, 0.30901699437494742410, -0.80901699437494742410, -0.80901699437494742410, 0.30901699437494742410}, {},
        {1, 0.62348980185873353053, -0.22252093395631440429, -0.90096886790241912624, -0.90096886790241912624,
         -0.22252093395631440429, 0.62348980185873353053}};
    constexpr double sines[8][7] = {{}, {}, {}, {0, 0.86602540378443864676, -0.86602540378443864676}, {},
        {0, 0.95105651629515357212, 0.58778525229247312917, -0.58778525229247312917, -0.95105651629515357212}, {},
        {0, 0.78183148246802980871, 0.97492791218182360702, 0.43388373911755812048, -0.43388373911755812048,
         -0.97492791218182360702, -0.78183148246802980871}};
    constexpr int half = R / 2;
    Cell<Real> sum[half], diff[half];
    const Cell<Real> first = x[0];
#pragma GCC unroll 16
    for (int j = 0; j < half; ++j) {
        sum[j] = x[j + 1] + x[R - 1 - j];
        diff[j] = turn<Back>(x[j + 1] - x[R - 1 - j]);
        x[0] = x[0] + sum[j];
    }
#pragma GCC unroll 16
    for (int f = 1; f <= half; ++f) {
        Cell<Real> even = first, odd{};
#pragma GCC unroll 16
        for (int j = 0; j < half; ++j) {
            const Real c = static_cast<Real>(cosines[R][f * (j + 1) % R]), s = static_cast<Real>(sines[R][f * (j + 1) % R]);
            even = {even.re + sum[j].re * c, even.im + sum[j].im * c};
            odd = {odd.re + diff[j].re * s, odd.im + diff[j].im * s};
        }
        x[f] = even + odd;
        x[R - f] = even - odd;
    }
}

template <int R, bool Back, class Real>
GOSSAMER_INLINE void dft(Cell<Real> (&x)[R]) {
    if constexpr (R == 2) {
        dft2<Back>(x[0], x[1]);
    } else if constexpr (R == 4) {
        dft4<Back>(x[0], x[1], x[2], x[3]);
    } else if constexpr (R == 8) {
        dft4<Back>(x[0], x[2], x[4], x[6]);
        dft4<Back>(x[1], x[3], x[5], x[7]);
        const Cell<Real> a[4] = {x[0], x[2], x[4], x[6]};
        const Cell<Real> b[4] = {x[1], sixteenth<2, Back>(x[3]), turn<Back>(x[5]), sixteenth<6, Back>(x[7])};
#pragma GCC unroll 16
        for (int f = 0; f < 4; ++f) {
            x[f] = a[f] + b[f];
            x[f + 4] = a[f] - b[f];
        }
    } else if constexpr (R == 16) {
#pragma GCC unroll 16
        for (int b = 0; b < 4; ++b) dft4<Back>(x[b], x[b + 4], x[b + 8], x[b + 12]);
        x[5] = sixteenth<1, Back>(x[5]);
        x[9] = sixteenth<2, Back>(x[9]);
        x[13] = sixteenth<3, Back>(x[13]);
        x[6] = sixteenth<2, Back>(x[6]);
        x[10] = turn<Back>(x[10]);
        x[14] = sixteenth<6, Back>(x[14]);
        x[7] = sixteenth<3, Back>(x[7]);
        x[11] = sixteenth<6, Back>(x[11]);
        x[15] = sixteenth<9, Back>(x[15]);
        // x[4 f + b] holds what residue b says of f: transposed while it is combined
#pragma GCC unroll 16
        for (int f = 0; f < 4; ++f) dft4<Back>(x[4 * f], x[4 * f + 1], x[4 * f + 2], x[4 * f + 3]);
#pragma GCC unroll 16
        for (int f = 0; f < 4; ++f)
#pragma GCC unroll 16
            for (int g = f + 1; g < 4; ++g) {
                const Cell<Real> kept = x[4 * f + g];
                x[4 * f + g] = x[4 * g + f];
                x[4 * g + f] = kept;
            }
    } else if constexpr (R > 1) {
        dft_prime<R, Back>(x);
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
