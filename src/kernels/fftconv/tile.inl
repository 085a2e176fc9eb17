// A tile, lanes x lanes points: a transform down its columns, a transpose in registers, a transform of what were its rows.
#include "butterflies.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

template <int... Index, class V>
GOSSAMER_INLINE V pick(V a, V b) { return __builtin_shufflevector(a, b, Index...); }

#if defined(__AVX512F__)

GOSSAMER_INLINE void transpose_chunks(__m512 (&row)[4]) { // 4 x 4 pieces of 128 bits
    const __m512 a = _mm512_shuffle_f32x4(row[0], row[1], 0x44), b = _mm512_shuffle_f32x4(row[0], row[1], 0xee),
                 c = _mm512_shuffle_f32x4(row[2], row[3], 0x44), d = _mm512_shuffle_f32x4(row[2], row[3], 0xee);
    row[0] = _mm512_shuffle_f32x4(a, c, 0x88);
    row[1] = _mm512_shuffle_f32x4(a, c, 0xdd);
    row[2] = _mm512_shuffle_f32x4(b, d, 0x88);
    row[3] = _mm512_shuffle_f32x4(b, d, 0xdd);
}

GOSSAMER_INLINE void transpose(simd<float>::type (&r)[16]) {
#pragma GCC unroll 4
    for (int g = 0; g < 16; g += 4) {
        const __m512d a = (__m512d)_mm512_unpacklo_ps((__m512)r[g], (__m512)r[g + 1]),
                      b = (__m512d)_mm512_unpackhi_ps((__m512)r[g], (__m512)r[g + 1]),
                      c = (__m512d)_mm512_unpacklo_ps((__m512)r[g + 2], (__m512)r[g + 3]),
                      d = (__m512d)_mm512_unpackhi_ps((__m512)r[g + 2], (__m512)r[g + 3]);
        r[g] = (simd<float>::type)_mm512_unpacklo_pd(a, c);
        r[g + 1] = (simd<float>::type)_mm512_unpackhi_pd(a, c);
        r[g + 2] = (simd<float>::type)_mm512_unpacklo_pd(b, d);
        r[g + 3] = (simd<float>::type)_mm512_unpackhi_pd(b, d);
    }
    simd<float>::type out[16];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
        __m512 part[4] = {(__m512)r[k], (__m512)r[4 + k], (__m512)r[8 + k], (__m512)r[12 + k]};
        transpose_chunks(part);
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) out[4 * c + k] = (simd<float>::type)part[c];
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) r[i] = out[i];
}

GOSSAMER_INLINE void transpose(simd<double>::type (&r)[8]) {
    simd<double>::type out[8];
#pragma GCC unroll 2
    for (int k = 0; k < 2; ++k) {
        __m512 part[4];
#pragma GCC unroll 4
        for (int g = 0; g < 4; ++g)
            part[g] = (__m512)(k ? _mm512_unpackhi_pd((__m512d)r[2 * g], (__m512d)r[2 * g + 1])
                                 : _mm512_unpacklo_pd((__m512d)r[2 * g], (__m512d)r[2 * g + 1]));
        transpose_chunks(part);
#pragma GCC unroll 4
        for (int c = 0; c < 4; ++c) out[2 * c + k] = (simd<double>::type)part[c];
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) r[i] = out[i];
}

#else

template <class V>
GOSSAMER_INLINE void transpose(V (&r)[2]) {
    const V a = pick<0, 2>(r[0], r[1]), b = pick<1, 3>(r[0], r[1]);
    r[0] = a;
    r[1] = b;
}

GOSSAMER_INLINE void transpose(simd_of<float, 16>::type (&r)[4]) {
    const auto a = pick<0, 4, 1, 5>(r[0], r[1]), b = pick<2, 6, 3, 7>(r[0], r[1]), c = pick<0, 4, 1, 5>(r[2], r[3]),
               d = pick<2, 6, 3, 7>(r[2], r[3]);
    r[0] = pick<0, 1, 4, 5>(a, c);
    r[1] = pick<2, 3, 6, 7>(a, c);
    r[2] = pick<0, 1, 4, 5>(b, d);
    r[3] = pick<2, 3, 6, 7>(b, d);
}

GOSSAMER_INLINE void transpose(simd_of<double, 32>::type (&r)[4]) {
    const auto a = pick<0, 4, 2, 6>(r[0], r[1]), b = pick<1, 5, 3, 7>(r[0], r[1]), c = pick<0, 4, 2, 6>(r[2], r[3]),
               d = pick<1, 5, 3, 7>(r[2], r[3]);
    r[0] = pick<0, 1, 4, 5>(a, c);
    r[1] = pick<0, 1, 4, 5>(b, d);
    r[2] = pick<2, 3, 6, 7>(a, c);
    r[3] = pick<2, 3, 6, 7>(b, d);
}

GOSSAMER_INLINE void transpose(simd_of<float, 32>::type (&r)[8]) {
    using V = simd_of<float, 32>::type;
    V out[8];
#pragma GCC unroll 2
    for (int g = 0; g < 8; g += 4) {
        const V a = pick<0, 8, 1, 9, 4, 12, 5, 13>(r[g], r[g + 1]), b = pick<2, 10, 3, 11, 6, 14, 7, 15>(r[g], r[g + 1]),
                c = pick<0, 8, 1, 9, 4, 12, 5, 13>(r[g + 2], r[g + 3]),
                d = pick<2, 10, 3, 11, 6, 14, 7, 15>(r[g + 2], r[g + 3]);
        r[g] = pick<0, 1, 8, 9, 4, 5, 12, 13>(a, c);
        r[g + 1] = pick<2, 3, 10, 11, 6, 7, 14, 15>(a, c);
        r[g + 2] = pick<0, 1, 8, 9, 4, 5, 12, 13>(b, d);
        r[g + 3] = pick<2, 3, 10, 11, 6, 7, 14, 15>(b, d);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
        out[k] = pick<0, 1, 2, 3, 8, 9, 10, 11>(r[k], r[k + 4]);
        out[k + 4] = pick<4, 5, 6, 7, 12, 13, 14, 15>(r[k], r[k + 4]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) r[i] = out[i];
}

#endif

template <class Real>
GOSSAMER_INLINE void transpose_cells(Cell<Real> (&x)[lanes<Real>]) {
    typename simd<Real>::type part[lanes<Real>];
#pragma GCC unroll 16
    for (int i = 0; i < lanes<Real>; ++i) part[i] = x[i].re;
    transpose(part);
#pragma GCC unroll 16
    for (int i = 0; i < lanes<Real>; ++i) x[i].re = part[i];
#pragma GCC unroll 16
    for (int i = 0; i < lanes<Real>; ++i) part[i] = x[i].im;
    transpose(part);
#pragma GCC unroll 16
    for (int i = 0; i < lanes<Real>; ++i) x[i].im = part[i];
}

enum class Product { none, kernel };

// In place, then times the tile's part of a spectrum. Lane a of cell b is index a of the last factor but
// one and index b of the last.
template <Product Kind, class Real>
__attribute__((noinline)) void tile_forward(Real* tile, const Real* constants, const Real* lane_constants,
                                            const Real* spectrum) {
    constexpr int W = lanes<Real>;
    Cell<Real> x[W];
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) x[j] = load_cell(tile + 2 * W * j);
#pragma GCC unroll 16
    for (int j = 1; j < W; ++j) x[j] = times<false>(x[j], constants + 2 * j);
    dft<W, false>(x);
    transpose_cells<Real>(x);
#pragma GCC unroll 16
    for (int j = 1; j < W; ++j) {
        const Cell<Real> w = load_cell(lane_constants + 2 * W * j);
        x[j] = times<false>(x[j], w.re, w.im);
    }
    dft<W, false>(x);
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) {
        if constexpr (Kind != Product::none) {
            const Cell<Real> k = load_cell(spectrum + 2 * W * j);
            x[j] = times<false>(x[j], k.re, k.im);
        }
        store_cell(tile + 2 * W * j, x[j]);
    }
}

template <class Real>
__attribute__((noinline)) void tile_inverse(Real* tile, const Real* constants, const Real* lane_constants) {
    constexpr int W = lanes<Real>;
    Cell<Real> x[W];
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) x[j] = load_cell(tile + 2 * W * j);
    dft<W, true>(x);
#pragma GCC unroll 16
    for (int j = 1; j < W; ++j) {
        const Cell<Real> w = load_cell(lane_constants + 2 * W * j);
        x[j] = times<true>(x[j], w.re, w.im);
    }
    transpose_cells<Real>(x);
    dft<W, true>(x);
#pragma GCC unroll 16
    for (int j = 0; j < W; ++j) store_cell(tile + 2 * W * j, j ? times<true>(x[j], constants + 2 * j) : x[j]);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
