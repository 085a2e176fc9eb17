// What sixteen lanes are loaded from and how bytes are multiplied in them. Lanes are rows.
#pragma once

#include "../dispatch/sixteen.hpp"
#include "linear.hpp"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

// Tokens whose sums registers hold
#if defined(__AVX512F__)
inline constexpr int widest = 8;
#else
inline constexpr int widest = 4;
#endif

GOSSAMER_INLINE v16f load_halves(const float16* p) {
#if defined(__AVX512F__)
    return (v16f)_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__AVX2__)
    return v16f::each([&](int i) {
        return (float8)_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8 * i)));
    });
#elif GOSSAMER_NEON
    return v16f::each([&](int i) { return widen_halves(vld1_u16(p + 4 * i)); });
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
#elif GOSSAMER_NEON
    return v16f::each([&](int i) { return widen_brain(vld1_u16(p + 4 * i)); });
#elif defined(__AVX2__)
    return v16f::each([&](int i) {
        const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8 * i)));
        return (float8)_mm256_slli_epi32(wide, 16);
    });
#else
    v16u bits;
    for (int i = 0; i < 16; ++i) bits[i] = static_cast<std::uint32_t>(p[i]) << 16;
    return (v16f)bits;
#endif
}

GOSSAMER_INLINE v16i load_bytes(const std::uint8_t* p) {
#if defined(__AVX512F__)
    return (v16i)_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
#elif GOSSAMER_NEON
    const uint8x16_t all = vld1q_u8(p);
    const uint16x8_t low = vmovl_u8(vget_low_u8(all)), high = vmovl_high_u8(all);
    return (v16i)v16u{
        {vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)}};
#elif defined(__AVX2__)
    return v16i::each([&](int i) {
        return (v16i::Part)_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8 * i)));
    });
#else
    v16i v;
    for (int i = 0; i < 16; ++i) v[i] = p[i];
    return v;
#endif
}

// Codes of `Bits` packed in bytes: those at bit `Bits part` of each byte.
template <int Bits>
GOSSAMER_INLINE v16u plane(v16u packed, int part) {
    if constexpr (Bits == 8) {
        return packed;
    } else {
        constexpr std::uint32_t mask = Bits == 4 ? 0x0f0f0f0fu : 0x03030303u;
#if GOSSAMER_NEON // bytes shift by themselves, and the last part needs no mask
        const auto moved = v16u::each([&](int i) { return (uint32x4_t)((uint8x16_t)packed.part[i] >> (Bits * part)); });
        return part + 1 == 8 / Bits ? moved : moved & mask;
#else
        return (packed >> (Bits * part)) & mask;
#endif
    }
}

// Four signed bytes, the same for all lanes: those at p + 4 index.
#if GOSSAMER_NEON >= 2
struct Quad { // the instruction takes one of four quads, so that sixteen bytes are loaded at once
    int8x16_t four;
    int index;
};
GOSSAMER_INLINE Quad quad(const std::int8_t* p, int index) { return {vld1q_s8(p + index / 4 * 16), index % 4}; }
#else
using Quad = std::int32_t;
GOSSAMER_INLINE Quad quad(const std::int8_t* p, int index) {
    std::int32_t v;
    std::memcpy(&v, p + 4 * index, 4);
    return v;
}
#endif

// What dot4 takes from every code, where the machine multiplies signed bytes only: sums start from as much more.
template <int Bits>
inline constexpr int bias = GOSSAMER_NEON && Bits == 8 ? 128 : 0;

#if GOSSAMER_NEON
GOSSAMER_INLINE int32x4_t dot_quad(int32x4_t acc, int8x16_t codes, Quad x) {
#if GOSSAMER_NEON >= 2
    switch (x.index) { // known where it is inlined
        case 0: return vdotq_laneq_s32(acc, codes, x.four, 0);
        case 1: return vdotq_laneq_s32(acc, codes, x.four, 1);
        case 2: return vdotq_laneq_s32(acc, codes, x.four, 2);
        default: return vdotq_laneq_s32(acc, codes, x.four, 3);
    }
#else
    return dot_bytes(acc, codes, vreinterpretq_s8_s32(vdupq_n_s32(x)));
#endif
}
#endif

// acc[lane] += sum over the lane's four bytes of unsigned code (less the bias) times the byte of `x` at the same place
template <int Bits>
GOSSAMER_INLINE v16i dot4(v16i acc, v16u codes, Quad x) {
#if defined(__AVX512VNNI__)
    return (v16i)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)codes, _mm512_set1_epi32(x));
#elif defined(__AVX2__)
    const __m256i all = _mm256_set1_epi32(x);
    if constexpr (Bits < 8) { // sums of two fit in 16 bits
        const __m256i ones = _mm256_set1_epi16(1);
        return v16i::each([&](int i) {
            const __m256i pairs = _mm256_maddubs_epi16((__m256i)codes.part[i], all);
            return acc.part[i] + (v16i::Part)_mm256_madd_epi16(pairs, ones);
        });
    } else {
        const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), odd = _mm256_srai_epi16(all, 8);
        return v16i::each([&](int i) {
            const auto bytes = (__m256i)codes.part[i];
            const auto low = (v16i::Part)_mm256_madd_epi16(_mm256_and_si256(bytes, _mm256_set1_epi16(255)), even);
            return acc.part[i] + low + (v16i::Part)_mm256_madd_epi16(_mm256_srli_epi16(bytes, 8), odd);
        });
    }
#elif GOSSAMER_NEON
    return v16i::each([&](int i) {
        const auto bytes = (uint8x16_t)codes.part[i];
        return dot_quad(acc.part[i], Bits == 8 ? minus_128(bytes) : (int8x16_t)bytes, x);
    });
#else
    for (int t = 0; t < 4; ++t)
        acc += (v16i)((codes >> (8 * t)) & 255u) * static_cast<std::int8_t>(x >> (8 * t));
    return acc;
#endif
}

// z[lane] * x for 0 <= z < 2^15, or any z that has a bias taken from it, and |x| < 2^15
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
    v16f::Part total = v.part[0] + v.part[1];
    if constexpr (v16f::parts == 4) total += v.part[2] + v.part[3];
    return simd_of<float, sizeof total>::sum(total);
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
