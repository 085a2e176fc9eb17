// Sixteen lanes of 32 bits, the width that every kernel of this folder is written in. Lanes are rows.
#pragma once

#include "../dispatch/simd.hpp"
#include "linear.hpp"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

typedef float v16f __attribute__((vector_size(64)));
typedef std::int32_t v16i __attribute__((vector_size(64)));
typedef std::uint32_t v16u __attribute__((vector_size(64)));

#define GOSSAMER_INLINE inline __attribute__((always_inline))

template <class V, class T>
GOSSAMER_INLINE V load(const T* p) {
    V v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <class V, class T>
GOSSAMER_INLINE void store(T* p, V v) { std::memcpy(p, &v, sizeof v); }

GOSSAMER_INLINE v16f splat(float x) { return v16f{} + x; }
GOSSAMER_INLINE v16f to_floats(v16i v) { return __builtin_convertvector(v, v16f); }

GOSSAMER_INLINE v16f load_halves(const float16* p) {
#if defined(__AVX512F__)
    return (v16f)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
    const __m256 low = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m256 high = _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)));
    v16f v;
    std::memcpy(&v, &low, 32);
    std::memcpy(reinterpret_cast<char*>(&v) + 32, &high, 32);
    return v;
#else
    v16f v;
    for (int i = 0; i < 16; ++i) v[i] = to_float(p[i]);
    return v;
#endif
}

GOSSAMER_INLINE v16f load_brain(const std::uint16_t* p) { // bfloat16
#if defined(__AVX512F__)
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return (v16f)_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
#else
    v16u bits;
    for (int i = 0; i < 16; ++i) bits[i] = static_cast<std::uint32_t>(p[i]) << 16;
    return (v16f)bits;
#endif
}

GOSSAMER_INLINE v16i load_bytes(const std::uint8_t* p) {
#if defined(__AVX512F__)
    return (v16i)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#else
    v16i v;
    for (int i = 0; i < 16; ++i) v[i] = p[i];
    return v;
#endif
}

GOSSAMER_INLINE std::int32_t four_bytes(const std::int8_t* p) {
    std::int32_t v;
    std::memcpy(&v, p, 4);
    return v;
}

// acc[lane] += sum over the lane's four bytes of unsigned code times the signed byte of `x` at the same place
GOSSAMER_INLINE v16i dot4(v16i acc, v16u codes, std::int32_t x) {
#if defined(__AVX512VNNI__)
    return (v16i)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)codes, _mm512_set1_epi32(x));
#elif defined(__AVX2__)
    const __m256i signed_x = _mm256_set1_epi32(x), mask = _mm256_set1_epi32(0x00ff00ff);
    const __m256i even_x = _mm256_srai_epi16(_mm256_slli_epi16(signed_x, 8), 8), odd_x = _mm256_srai_epi16(signed_x, 8);
    __m256i parts[2], sums[2];
    std::memcpy(parts, &codes, 64);
    std::memcpy(sums, &acc, 64);
    for (int i = 0; i < 2; ++i) {
        sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(_mm256_and_si256(parts[i], mask), even_x));
        sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(_mm256_srli_epi16(parts[i], 8), odd_x));
    }
    std::memcpy(&acc, sums, 64);
    return acc;
#else
    for (int t = 0; t < 4; ++t)
        acc += (v16i)((codes >> (8 * t)) & 255u) * static_cast<std::int8_t>(x >> (8 * t));
    return acc;
#endif
}

// z[lane] * x for 0 <= z < 2^15 and |x| < 2^15
GOSSAMER_INLINE v16i small_product(v16i z, std::int32_t x) {
#if defined(__AVX512VNNI__)
    return (v16i)_mm512_dpwssd_epi32(_mm512_setzero_si512(), (__m512i)z, _mm512_set1_epi32(x));
#else
    return z * x;
#endif
}

GOSSAMER_INLINE float sum_lanes(v16f v) {
#if defined(__AVX512F__)
    return _mm512_reduce_add_ps((__m512)v);
#else
    float total = 0;
    for (int i = 0; i < 16; ++i) total += v[i];
    return total;
#endif
}

GOSSAMER_INLINE int smaller(int a, int b) { return a < b ? a : b; }

// Writes lanes [0, count) to y
GOSSAMER_INLINE void store_some(float* y, v16f v, int count) {
    if (count >= 16)
        store(y, v);
    else
        for (int i = 0; i < count; ++i) y[i] = v[i];
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
