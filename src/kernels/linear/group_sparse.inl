// Group-sparse codes: groups of 16 columns of a row, kept ones only, 4 or 8 bits.
//
// A unit of 32 rows is one stream: a word for every 16 columns, whose bits say which rows keep them, then for every
// 16 columns a record of its n kept groups: planes of four codes a lane (4n bytes each), n scales, n zeros. Kept
// groups stand side by side whatever their rows, so lanes are full; they share their columns, so activations are
// broadcast and no column index is stored. Sixteen sums at a time go to a small buffer; the bits of the word spread
// them over the rows again, one step behind, when the buffer has reached the cache.
#pragma once

#include "bitmap.inl"
#include "codes.inl"
#include "packed.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

template <int Bits, Zero Z>
struct Record {
    static constexpr int planes = Bits == 8 ? 4 : 2;
    static constexpr int scale_at = 4 * planes, zero_at = scale_at + 2; // times n
    static constexpr int bytes = zero_at + (Z == Zero::integer ? 1 : Z == Zero::real ? 2 : 0);

    // Code t of kept group i among n: four codes a plane, 4 bits: the next four in the high nibbles.
    static std::uint8_t* byte(std::uint8_t* p, int n, int i, int t) {
        return p + (Bits == 8 ? t / 4 : t / 8) * 4 * n + 4 * i + t % 4;
    }
    static int shift(int t) { return Bits == 8 ? 0 : t % 8 / 4 * 4; }
};

GOSSAMER_INLINE std::uint32_t word_at(const std::uint8_t* p, int index) {
    std::uint32_t word;
    std::memcpy(&word, p + 4 * index, 4);
    return word;
}

// y[0], y[1]: the 32 rows of a unit
template <int Bits, Zero Z>
void sparse_unit(const std::uint8_t* unit, int halves, int middle, const Activation& x, v16f* y) {
    using R = Record<Bits, Z>;
    alignas(64) float sums[2][unit_rows + 16];
    const std::uint8_t* p = unit + 4 * static_cast<std::int64_t>(halves);
    v16f low{}, high{};
    const auto spread = [&](std::uint32_t word, const float* from) {
        low += expand(word & 0xffffu, from);
        high += expand(word >> 16, from + __builtin_popcount(word & 0xffffu));
    };
    for (int half = 0; half < halves; ++half) {
        const int n = __builtin_popcount(word_at(unit, half));
        const std::int8_t* q = x.q + 16 * half;
        const std::int32_t minus = x.half[half];
        const float step = x.scale[half / 2];
        float* out = sums[half & 1];
        for (int ahead = 0; ahead < R::bytes * 16; ahead += 64) __builtin_prefetch(p + 2048 + ahead);
        for (int i = 0; i < n; i += 16) {
            v16i even{}, odd{};
            if constexpr (Z == Zero::middle) even += minus * middle;
            if constexpr (Z == Zero::integer) even = small_product(load_bytes(p + R::zero_at * n + i), minus);
#pragma GCC unroll 4
            for (int plane = 0; plane < R::planes; ++plane) {
                const v16u codes = load<v16u>(p + 4 * (plane * n + i));
                if constexpr (Bits == 8) {
                    (plane % 2 ? odd : even) = dot4(plane % 2 ? odd : even, codes, four_bytes(q + 4 * plane));
                } else {
                    even = dot4(even, codes & 0x0f0f0f0fu, four_bytes(q + 8 * plane));
                    odd = dot4(odd, (codes >> 4) & 0x0f0f0f0fu, four_bytes(q + 8 * plane + 4));
                }
            }
            const auto* scale = reinterpret_cast<const float16*>(p + R::scale_at * n) + i;
            v16f value = to_floats(even + odd) * (load_halves(scale) * step);
            if constexpr (Z == Zero::real)
                value -= load_halves(reinterpret_cast<const float16*>(p + R::zero_at * n) + i) * x.mean[half];
            store(out + i, value);
        }
        p += R::bytes * n;
        if (half) spread(word_at(unit, half - 1), sums[(half - 1) & 1]);
    }
    spread(word_at(unit, halves - 1), sums[(halves - 1) & 1]);
    y[0] = low;
    y[1] = high;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
