// Packed codes times tiles of 8 tokens whose activations lie side by side: every load of the inner loop is one pointer
// and a constant. The arithmetic, and with it every bit of the result, is that of packed.inl.
#pragma once

#include "packed.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

// What the integer sums of a tile's tokens start from, see start().
template <int Bits, Zero Z>
GOSSAMER_INLINE void start_tile(v16i zero, int middle, const std::int32_t* minus, v16i* acc) {
#pragma GCC unroll 8
    for (int n = 0; n < widest; ++n) {
        if constexpr (Z == Zero::middle)
            acc[n] = (v16i{} + minus[n]) * (middle - bias<Bits>);
        else
            acc[n] = start<Bits, Z>(zero, middle, minus[n]);
    }
}

template <int Bits, int Vectors>
GOSSAMER_INLINE void dot_tile(const std::uint8_t* codes, const std::int8_t* q, v16i* acc) {
    using C = CodeVector<Bits>;
#pragma GCC unroll 16
    for (int v = 0; v < Vectors; ++v) {
        const v16u packed = load<v16u>(codes + v * 64);
#pragma GCC unroll 4
        for (int j = 0; j < 8 / Bits; ++j) {
            const v16u four = plane<Bits>(packed, j);
            const std::int8_t* at = q + (v * C::codes + 4 * j) * tile_tokens;
#pragma GCC unroll 8
            for (int n = 0; n < widest; ++n) acc[n] = dot4<Bits>(acc[n], four, quad(at, n));
        }
    }
}

// Groups of whole blocks of 32 columns, tokens from `first` on: a tile or, where registers are few, half of one.
template <int Bits, Zero Z>
GOSSAMER_INLINE void tiled_wide(const PackedView& a, const Activation& x, int first, v16f* y) {
    constexpr int vectors = act_block * Bits / 32;
    const std::int64_t at = static_cast<std::int64_t>(first / tile_tokens) * x.blocks * tile_tokens;
    const int inside = first % tile_tokens;
    const std::int8_t* q = x.tile_q + at * act_block + 4 * inside;
    const float* scales = x.tile_scale + at + inside;
    const std::int32_t* sums = x.tile_sum + at + inside;
    const std::uint8_t* codes = a.codes;
    const int per_group = a.steps / 2;
    for (int n = 0; n < widest; ++n) y[n] = v16f{};
    for (int group = 0, block = 0; block < a.blocks; ++group) {
        const v16f scale = load_halves(a.scale + group * 16);
        v16i zero{};
        v16f shift{};
        if constexpr (Z == Zero::integer) zero = load_bytes(a.zeros + group * 16);
        if constexpr (Z == Zero::real) shift = load_halves(a.shift + group * 16);
        v16f total[widest] = {};
        for (const int end = smaller(block + per_group, a.blocks); block < end; ++block) {
            v16i acc[widest];
            start_tile<Bits, Z>(zero, a.middle, sums, acc);
            dot_tile<Bits, vectors>(codes, q, acc);
#pragma GCC unroll 8
            for (int n = 0; n < widest; ++n) {
                if constexpr (Z == Zero::real) y[n] += shift * (scales[n] * static_cast<float>(sums[n]));
                if (per_group == 1)
                    y[n] += to_floats(acc[n]) * (scale * scales[n]);
                else
                    total[n] += to_floats(acc[n]) * scales[n];
            }
            codes += vectors * 64;
            q += act_block * tile_tokens;
            scales += tile_tokens;
            sums += tile_tokens;
        }
        if (per_group != 1)
            for (int n = 0; n < widest; ++n) y[n] += total[n] * scale;
    }
}

// Groups of any multiple of 16 columns.
template <int Bits, Zero Z>
GOSSAMER_INLINE void tiled_halves(const PackedView& a, const Activation& x, int first, v16f* y) {
    constexpr int vectors = 16 * Bits / 32;
    const std::int64_t at = static_cast<std::int64_t>(first / tile_tokens) * x.blocks * tile_tokens;
    const int inside = first % tile_tokens;
    const std::int8_t* q = x.tile_q + at * act_block + 4 * inside;
    const float* scales = x.tile_scale + at + inside;
    const std::int32_t* sums = x.tile_half + 2 * at + inside;
    const std::uint8_t* codes = a.codes;
    for (int n = 0; n < widest; ++n) y[n] = v16f{};
    const int halves = (x.cols + 15) / 16;
    for (int group = 0, half = 0; half < halves; ++group) {
        const v16f scale = load_halves(a.scale + group * 16);
        v16i zero{};
        v16f shift{};
        if constexpr (Z == Zero::integer) zero = load_bytes(a.zeros + group * 16);
        if constexpr (Z == Zero::real) shift = load_halves(a.shift + group * 16);
        for (const int end = smaller(half + a.steps, halves); half < end; ++half) {
            v16i acc[widest];
            start_tile<Bits, Z>(zero, a.middle, sums, acc);
            dot_tile<Bits, vectors>(codes, q, acc);
#pragma GCC unroll 8
            for (int n = 0; n < widest; ++n) {
                if constexpr (Z == Zero::real) y[n] -= shift * (scales[n] * static_cast<float>(-sums[n]));
                y[n] += to_floats(acc[n]) * (scale * scales[n]);
            }
            codes += vectors * 64;
            q += 16 * tile_tokens;
            sums += tile_tokens;
            if (half % 2) scales += tile_tokens;
        }
    }
}

// One block of 16 rows times all tiles; y[token * stride] is where the first of them goes, `count` of them are rows.
template <int Bits, Zero Z>
void tiled_block(const PackedView& a, const Activation& x, float* y, std::int64_t stride, int count) {
    for (int token = 0; token < x.tokens; token += widest) {
        v16f out[widest];
        if (a.steps % 2 == 0)
            tiled_wide<Bits, Z>(a, x, token, out);
        else
            tiled_halves<Bits, Z>(a, x, token, out);
        for (int i = 0; i < smaller(widest, x.tokens - token); ++i)
            store_some(y + (token + i) * stride, out[i], count);
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
