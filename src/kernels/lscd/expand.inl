// How one vector of 16 rows is expanded from a mask and packed values, and multiplied with columns of X.
#pragma once

#include "../dispatch/sixteen.hpp"
#include "lscd.hpp"

namespace gossamer::lscd {
inline namespace GOSSAMER_ISA {

// acc[r][i] += w[r] x[i * stride]: an x is broadcast once for the R rows of tiles
template <int R, int N>
GOSSAMER_INLINE void multiply_floats(const v16f* w, const float* x, std::int64_t stride, v16f (*acc)[N]) {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) {
        const float value = x[i * stride];
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) acc[r][i] += w[r] * value;
    }
}

struct Single { // float32
    using Value = float;
    using Mask = std::uint16_t;
    using X = float;
    using Vector = v16f;
    static constexpr int columns = 1, x_columns = 1; // of A a step; of X an element holds

    static GOSSAMER_INLINE Vector expand(Mask mask, const Value* p) {
        return gossamer::expand(mask, p);
    }
    template <int R, int N>
    static GOSSAMER_INLINE void multiply(const Vector* w, const X* x, std::int64_t, std::int64_t stride, v16f (*acc)[N]) {
        multiply_floats<R, N>(w, x, stride, acc);
    }
    static float at(Vector w, int row, int) { return w[row]; }
};

struct Half { // float16, multiplied as float32
    using Value = std::uint16_t;
    using Mask = std::uint16_t;
    using X = float;
    using Vector = v16f;
    static constexpr int columns = 1, x_columns = 1;

    static GOSSAMER_INLINE Vector expand(Mask mask, const Value* p) {
#if defined(__AVX512VBMI2__)
        return (v16f)_mm512_cvtph_ps(_mm256_maskz_expand_epi16(mask, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__AVX512F__)
        const __m512 wide = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
        return (v16f)_mm512_maskz_expand_ps(mask, wide);
#elif defined(__AVX2__)
        return v16f::each([&](int i) { return (float8)_mm256_cvtph_ps(expand_eight(mask >> (8 * i) & 255u, p)); });
#elif GOSSAMER_NEON
        const uint16x8_t low = expand_eight(mask & 255u, p), high = expand_eight(mask >> 8, p);
        return {{widen_halves(vget_low_u16(low)), widen_halves(vget_high_u16(low)), widen_halves(vget_low_u16(high)),
                 widen_halves(vget_high_u16(high))}};
#else
        v16f v{};
        for (std::uint32_t bits = mask; bits; bits &= bits - 1) v[__builtin_ctz(bits)] = to_float(*p++);
        return v;
#endif
    }
    template <int R, int N>
    static GOSSAMER_INLINE void multiply(const Vector* w, const X* x, std::int64_t, std::int64_t stride, v16f (*acc)[N]) {
        multiply_floats<R, N>(w, x, stride, acc);
    }
    static float at(Vector w, int row, int) { return w[row]; }
};

struct Brain { // bfloat16 in pairs of columns, multiplied as float32
    using Value = std::uint16_t;
    using Mask = std::uint32_t;
    using X = float;
    using Vector = v16u; // low half: even column
    static constexpr int columns = 2, x_columns = 1;

    static GOSSAMER_INLINE Vector expand(Mask mask, const Value* p) {
#if defined(__AVX512VBMI2__)
        __m512i packed = _mm512_loadu_si512(p);
        __asm__("" : "+v"(packed)); // the form that loads by itself is microcode on some CPUs
        return (v16u)_mm512_maskz_expand_epi16(mask, packed);
#elif defined(__AVX512F__)
        const auto half = [](std::uint32_t bits, const Value* from) {
            const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
            return _mm512_cvtepi32_epi16(_mm512_maskz_expand_epi32(static_cast<__mmask16>(bits), wide));
        };
        const __m256i low = half(mask & 0xffffu, p);
        const __m256i high = half(mask >> 16, p + __builtin_popcount(mask & 0xffffu));
        return (v16u)_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
#elif defined(__AVX2__)
        return v16u::each([&](int i) {
            const __m128i low = expand_eight(mask >> (16 * i) & 255u, p), high = expand_eight(mask >> (16 * i + 8) & 255u, p);
            return (v16u::Part)_mm256_set_m128i(high, low);
        });
#elif GOSSAMER_NEON
        return v16u::each([&](int i) { return (uint32x4_t)expand_eight(mask >> (8 * i) & 255u, p); });
#else
        v16u v{};
        for (std::uint32_t bits = mask; bits; bits &= bits - 1) {
            const int place = __builtin_ctz(bits);
            v[place / 2] |= static_cast<std::uint32_t>(*p++) << (place % 2 * 16);
        }
        return v;
#endif
    }
    template <int R, int N>
    static GOSSAMER_INLINE void multiply(const Vector* w, const X* x, std::int64_t step, std::int64_t stride,
                                         v16f (*acc)[N]) {
        v16f even[R], odd[R];
        for (int r = 0; r < R; ++r) even[r] = (v16f)(w[r] << 16), odd[r] = (v16f)(w[r] & 0xffff0000u);
        multiply_floats<R, N>(even, x, stride, acc);
        multiply_floats<R, N>(odd, x + step, stride, acc);
    }
    static float at(Vector w, int row, int column) {
        const v16f wide = (v16f)(column ? w & 0xffff0000u : w << 16);
        return wide[row];
    }
};

#if defined(__AVX512BF16__) && defined(__AVX512VBMI2__)
struct BrainPairs : Brain { // both in bfloat16: the machine multiplies pairs and adds in float32
    using X = std::uint32_t; // a pair of rows of X
    static constexpr int x_columns = 2;

    template <int R, int N>
    static GOSSAMER_INLINE void multiply(const Vector* w, const X* x, std::int64_t, std::int64_t stride, v16f (*acc)[N]) {
#pragma GCC unroll 8
        for (int i = 0; i < N; ++i) {
            const __m512bh pair = (__m512bh)_mm512_set1_epi32(static_cast<int>(x[i * stride]));
#pragma GCC unroll 2
            for (int r = 0; r < R; ++r) acc[r][i] = (v16f)_mm512_dpbf16_ps((__m512)acc[r][i], (__m512bh)w[r], pair);
        }
    }
};
#endif

} // namespace GOSSAMER_ISA
} // namespace gossamer::lscd
