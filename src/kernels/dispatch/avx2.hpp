// What takes AVX2 several instructions where later sets have one.
#pragma once

#include "simd.hpp"

#if defined(__AVX2__) && !defined(__AVX512F__)

namespace gossamer::inline GOSSAMER_ISA {

typedef float float8 __attribute__((vector_size(32)));

// For each mask of eight bits: where each place of the expanded vector takes its value from.
struct ExpandTables {
    alignas(32) std::int32_t dwords[256][8]; // -1: zero
    alignas(16) std::uint8_t words[256][16]; // 128: zero
    constexpr ExpandTables() : dwords(), words() {
        for (int mask = 0; mask < 256; ++mask)
            for (int place = 0, next = 0; place < 8; ++place) {
                const bool kept = mask >> place & 1;
                dwords[mask][place] = kept ? next : -1;
                words[mask][2 * place] = static_cast<std::uint8_t>(kept ? 2 * next : 128);
                words[mask][2 * place + 1] = static_cast<std::uint8_t>(kept ? 2 * next + 1 : 128);
                next += kept;
            }
    }
};
inline constexpr ExpandTables expand_tables;

GOSSAMER_INLINE __m256i expand_places(std::uint32_t mask) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(expand_tables.dwords[mask]));
}

// `moved` where a place has a bit, zero elsewhere: places without one hold -1.
GOSSAMER_INLINE float8 only_kept(__m256 moved, __m256i places) {
    return (float8)_mm256_andnot_ps(_mm256_castsi256_ps(_mm256_srai_epi32(places, 31)), moved);
}

// The values at p, as many as `mask` has bits, to the places of the bits; moves p beyond them. Reads a whole vector.
GOSSAMER_INLINE float8 expand_eight(std::uint32_t mask, const float*& p) {
    const __m256i places = expand_places(mask);
    const __m256 moved = _mm256_permutevar8x32_ps(_mm256_loadu_ps(p), places);
    p += __builtin_popcount(mask);
    return only_kept(moved, places);
}

// The same of sixteen bits each.
GOSSAMER_INLINE __m128i expand_eight(std::uint32_t mask, const std::uint16_t*& p) {
    const __m128i packed = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    p += __builtin_popcount(mask);
    return _mm_shuffle_epi8(packed, _mm_load_si128(reinterpret_cast<const __m128i*>(expand_tables.words[mask])));
}

} // namespace gossamer::inline GOSSAMER_ISA

#endif
