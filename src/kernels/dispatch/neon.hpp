// What NEON does in one or a few instructions and vector extensions would spell out. GOSSAMER_NEON is set by the build
// for the sources of that path alone (2 where the integer dot product may be used): the portable path stays free of it.
#pragma once

#include "simd.hpp"

#if GOSSAMER_NEON

namespace gossamer::inline GOSSAMER_ISA {

typedef float float4 __attribute__((vector_size(16)));

// acc[lane] += sum of a[4 lane ..] * b[4 lane ..]; where |b| <= 127, the 16-bit sums of the longer way cannot overflow.
GOSSAMER_INLINE int32x4_t dot_bytes(int32x4_t acc, int8x16_t a, int8x16_t b) {
#if GOSSAMER_NEON >= 2
    return vdotq_s32(acc, a, b);
#else
    const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b)), high = vmull_high_s8(a, b);
    return vpadalq_s16(acc, vpaddq_s16(low, high));
#endif
}

// A byte of 128 and more is no signed number: the unsigned one minus 128 is.
GOSSAMER_INLINE int8x16_t minus_128(uint8x16_t codes) { return vreinterpretq_s8_u8(veorq_u8(codes, vdupq_n_u8(128))); }

GOSSAMER_INLINE float4 widen_halves(uint16x4_t halves) { return vcvt_f32_f16(vreinterpret_f16_u16(halves)); }
GOSSAMER_INLINE float4 widen_brain(uint16x4_t brain) { return vreinterpretq_f32_u32(vshll_n_u16(brain, 16)); }

// For each mask: where each place of the expanded vector takes its bytes from; a lookup beyond the vector gives zero.
template <int Places, int Bytes>
struct ExpandTable {
    alignas(16) std::uint8_t from[1 << Places][16];
    std::uint8_t kept[1 << Places];
    constexpr ExpandTable() : from(), kept() {
        for (int mask = 0; mask < 1 << Places; ++mask) {
            int next = 0;
            for (int place = 0; place < Places; ++place) {
                const bool there = mask >> place & 1;
                for (int b = 0; b < Bytes; ++b)
                    from[mask][place * Bytes + b] = static_cast<std::uint8_t>(there ? next * Bytes + b : 128);
                next += there;
            }
            kept[mask] = static_cast<std::uint8_t>(next);
        }
    }
};
inline constexpr ExpandTable<4, 4> expand_words;
inline constexpr ExpandTable<8, 2> expand_halves;

// The values at p, as many as `mask` has bits, to the places of the bits; moves p beyond them. Reads a whole vector.
GOSSAMER_INLINE float4 expand_four(unsigned mask, const float*& p) {
    const uint8x16_t packed = vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
    p += expand_words.kept[mask];
    return vreinterpretq_f32_u8(vqtbl1q_u8(packed, vld1q_u8(expand_words.from[mask])));
}

GOSSAMER_INLINE uint16x8_t expand_eight(unsigned mask, const std::uint16_t*& p) {
    const uint8x16_t packed = vld1q_u8(reinterpret_cast<const std::uint8_t*>(p));
    p += expand_halves.kept[mask];
    return vreinterpretq_u16_u8(vqtbl1q_u8(packed, vld1q_u8(expand_halves.from[mask])));
}

} // namespace gossamer::inline GOSSAMER_ISA

#endif
