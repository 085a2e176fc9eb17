// Group-sparse codes: groups of 16 columns of a row, kept ones only, 4 or 8 bits.
//
// A unit of 32 rows is one stream: a word for every 16 columns, whose bits say which rows keep them, then for every
// 16 columns a record of its n kept groups: planes of four codes a lane (4n bytes each), n scales, n zeros. Kept
// groups stand side by side whatever their rows, so lanes are full; they share their columns, so activations are
// broadcast and no column index is stored. Sixteen sums at a time are spread over the rows again by the bits of the
// word, without a detour through memory: a load that overlaps two younger stores waits for both.
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

// Whether bytes of any size are multiplied in one instruction, so that high nibbles may stay where they are.
#if defined(__AVX512VNNI__)
inline constexpr bool whole_bytes = true;
#else
inline constexpr bool whole_bytes = false;
#endif

GOSSAMER_INLINE std::uint32_t word_at(const std::uint8_t* p, int index) {
    std::uint32_t word;
    std::memcpy(&word, p + 4 * index, 4);
    return word;
}

// Sixteen kept groups from group i of a record of n: codes times activations times scale, without the activations' own.
template <int Bits, Zero Z>
GOSSAMER_INLINE v16f sixteen_groups(const std::uint8_t* p, int n, int i, int middle, const std::int8_t* q, std::int32_t minus) {
    using R = Record<Bits, Z>;
    v16i acc{};
    if constexpr (Bits != 8 && whole_bytes) { // high nibbles where they stand: sixteen times too large, shifted once
#pragma GCC unroll 4
        for (int plane = 0; plane < R::planes; ++plane)
            acc = dot4<8>(acc, load<v16u>(p + 4 * (plane * n + i)) & 0xf0f0f0f0u, quad(q, 2 * plane + 1));
        acc = acc >> 4;
    }
    if constexpr (Z == Zero::middle) acc += minus * (middle - bias<Bits>);
    if constexpr (Z == Zero::integer) acc += small_product(load_bytes(p + R::zero_at * n + i) - bias<Bits>, minus);
    if constexpr (Z == Zero::real) acc += -minus * bias<Bits>;
#pragma GCC unroll 4
    for (int plane = 0; plane < R::planes; ++plane) {
        const v16u codes = load<v16u>(p + 4 * (plane * n + i));
        if constexpr (Bits == 8) {
            acc = dot4<8>(acc, codes, quad(q, plane));
        } else {
            acc = dot4<4>(acc, linear::plane<4>(codes, 0), quad(q, 2 * plane));
            if constexpr (!whole_bytes) acc = dot4<4>(acc, linear::plane<4>(codes, 1), quad(q, 2 * plane + 1));
        }
    }
    v16f value = to_floats(acc) * load_halves(reinterpret_cast<const float16*>(p + R::scale_at * n) + i);
    if constexpr (Z == Zero::real)
        value += load_halves(reinterpret_cast<const float16*>(p + R::zero_at * n) + i) * static_cast<float>(minus);
    return value;
}

// y[0], y[1]: the 32 rows of a unit
template <int Bits, Zero Z>
void sparse_unit(const std::uint8_t* unit, int halves, int middle, const Activation& x, v16f* y) {
    using R = Record<Bits, Z>;
    const std::uint8_t* p = unit + 4 * static_cast<std::int64_t>(halves);
    v16f low{}, high{};
    for (int block = 0; 2 * block < halves; ++block) {
        v16f part[2] = {}; // of the block's two halves, which share the scale of the activations
        for (int half = 2 * block; half < smaller(2 * block + 2, halves); ++half) {
            const std::uint32_t word = word_at(unit, half);
            const int n = __builtin_popcount(word), below = __builtin_popcount(word & 0xffffu);
            for (int ahead = 0; ahead < R::bytes * 16; ahead += 64) __builtin_prefetch(p + 2048 + ahead);
            v16f values[2];
            values[0] = values[1] = sixteen_groups<Bits, Z>(p, n, 0, middle, x.q + 16 * half, x.half[half]);
            if (n > 16) values[1] = sixteen_groups<Bits, Z>(p, n, 16, middle, x.q + 16 * half, x.half[half]);
            p += R::bytes * n;
            part[0] += spread(word & 0xffffu, values[0]);
            part[1] += spread(word >> 16, values, below);
        }
        low += part[0] * x.scale[block];
        high += part[1] * x.scale[block];
    }
    y[0] = low;
    y[1] = high;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
