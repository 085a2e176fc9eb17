// From packed bytes to codes: any group one by one, common groups a vector ("strip") at a time in registers.
#pragma once

#include "../dispatch/neon.hpp"
#include "groups.hpp"

#include <type_traits>

namespace gossamer::inline GOSSAMER_ISA {

using Bytes = simd<std::uint8_t>;
using Words = simd<std::int32_t>;
using Floats = simd<float>;

inline constexpr int strip = vector_bytes; // codes in a vector
inline constexpr int chunk = 16;           // what groups and activation blocks have in common

inline std::int64_t padded(const QuantisedGroups& w) { return round_up(w.group, 8); }
inline std::int64_t group_bytes(const QuantisedGroups& w) { return w.bits * padded(w) / 8; }

// out[t] |= ((from[t] >> shift) & mask) << up, eight bytes at a time; `mask` repeats in every byte.
GOSSAMER_INLINE void take_bits(const std::uint8_t* from, std::int64_t count, int shift, std::uint64_t mask, int up,
                               std::uint8_t* out) {
    std::int64_t t = 0;
    const auto words = [&]<class Word>(Word) __attribute__((always_inline)) {
        for (; t + static_cast<std::int64_t>(sizeof(Word)) <= count; t += sizeof(Word)) {
            Word word, old;
            std::memcpy(&word, from + t, sizeof word);
            std::memcpy(&old, out + t, sizeof old);
            old = static_cast<Word>(old | ((word >> shift) & static_cast<Word>(mask)) << up);
            std::memcpy(out + t, &old, sizeof old);
        }
    };
    words(std::uint64_t{});
    words(std::uint32_t{});
    words(std::uint16_t{});
    words(std::uint8_t{});
}

// One group of any size and width; writes padded(w) codes.
inline void unpack_group(const QuantisedGroups& w, std::int64_t g, std::uint8_t* out) {
    constexpr std::uint64_t every_byte = 0x0101010101010101;
    const std::int64_t count = padded(w);
    const std::uint8_t* from = w.codes + g * group_bytes(w);
    if (w.bits == 8) {
        std::memcpy(out, from, static_cast<std::size_t>(count));
        return;
    }
    const int low_bits = w.bits == 3 ? 2 : w.bits, parts = 8 / low_bits;
    const std::uint64_t mask = every_byte * ((1u << low_bits) - 1);
    const std::int64_t run = count / parts, eighth = count / 8;
    std::memset(out, 0, static_cast<std::size_t>(count));
    for (int part = 0; part < parts; ++part) take_bits(from, run, part * low_bits, mask, 0, out + part * run);
    if (w.bits != 3) return;
    for (int bit = 0; bit < 8; ++bit) take_bits(from + run, eighth, bit, every_byte, 2, out + bit * eighth);
}

inline void expand_zeros(const QuantisedGroups& w, std::int64_t first, std::int64_t count, std::uint8_t* out) {
    if (!w.integer_zero) {
        std::memset(out, w.float_zero ? 0 : 1 << (w.bits - 1), static_cast<std::size_t>(count));
        return;
    }
    if (w.bits == 8) {
        std::memcpy(out, w.integer_zero + first, static_cast<std::size_t>(count));
        return;
    }
    const std::uint8_t* from = w.integer_zero + first / 2;
    if (count > 0 && first % 2) {
        *out++ = *from++ >> 4;
        --count;
    }
    for (std::int64_t t = 0; t < count / 2; ++t) {
        out[2 * t] = from[t] & 15;
        out[2 * t + 1] = from[t] >> 4;
    }
    if (count % 2) out[count - 1] = from[count / 2] & 15;
}

#if defined(__AVX2__) || GOSSAMER_NEON
#define GOSSAMER_PACKED 1 // strips are unpacked in registers
#endif

#if GOSSAMER_PACKED

// Groups of 16 Repeat codes (Repeat = 1, 2, 4, 8): where the codes of a strip lie in packed bytes.
template <int Bits, int Repeat>
struct Layout {
    static constexpr int group = chunk * Repeat, parts = 8 / Bits, run = group / parts;
    static constexpr int period = group > strip ? group / strip : 1; // strips in a group
    static constexpr int groups = group < strip ? strip / group : 1; // groups in a strip
    static constexpr bool contiguous = Bits == 8 || run >= strip;
    static constexpr int window = contiguous ? strip : group > strip ? run : strip * Bits / 8;

    struct Lanes {
        std::int32_t word[strip / 4], shift[strip / 4];
    };
#if GOSSAMER_NEON
    struct Shifts { // of each code, to the left
        std::int8_t by[strip];
        constexpr explicit Shifts(const Lanes& lanes) : by() {
            for (int code = 0; code < strip; ++code) by[code] = static_cast<std::int8_t>(-lanes.shift[code / 4]);
        }
    };
#endif
    static constexpr Lanes lanes(int which) { // the 4-byte word of the window, and the shift, of each 4 codes
        Lanes table{};
        for (int lane = 0; lane < strip / 4; ++lane) {
            const int code = which * strip + 4 * lane, in_group = code % group;
            table.word[lane] = (code / group * (group * Bits / 8) + in_group % run) / 4;
            table.shift[lane] = in_group / run * Bits;
        }
        return table;
    }

    template <int Which> // strip number of the group
    static GOSSAMER_INLINE Bytes::type load(const std::uint8_t* p) {
        constexpr int mask = (1 << Bits) - 1;
        if constexpr (Bits == 8) {
            return Bytes::load(p + Which * strip);
        } else if constexpr (contiguous) {
            return (Bytes::load(p + Which * strip % run) >> (Which * strip / run * Bits)) &
                   static_cast<std::uint8_t>(mask);
        } else {
            constexpr Lanes table = lanes(Which);
#if defined(__AVX512F__)
            __m512i wide;
            if constexpr (window == 32)
                wide = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
            else
                wide = _mm512_castsi128_si512(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
            const __m512i spread = _mm512_permutexvar_epi32(_mm512_loadu_si512(table.word), wide);
            const __m512i codes = _mm512_and_si512(_mm512_srlv_epi32(spread, _mm512_loadu_si512(table.shift)),
                                                   _mm512_set1_epi8(mask));
            return (Bytes::type)codes;
#elif GOSSAMER_NEON
            using Word = std::conditional_t<window == 4, std::uint32_t, std::uint64_t>;
            static_assert(sizeof(Word) == window); // the window repeats, so that bytes stay where they are
            Word word;
            std::memcpy(&word, p, sizeof word);
            const auto wide = (uint8x16_t)simd<Word>::splat(word);
            constexpr Shifts down(table);
            return (Bytes::type)vandq_u8(vshlq_u8(wide, vld1q_s8(down.by)), vdupq_n_u8(mask));
#else
            __m256i wide;
            if constexpr (window == 16)
                wide = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
            else
                wide = _mm256_castsi128_si256(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
            const auto load = [](const std::int32_t* t) {
                return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(t));
            };
            const __m256i spread = _mm256_permutevar8x32_epi32(wide, load(table.word));
            return (Bytes::type)_mm256_and_si256(_mm256_srlv_epi32(spread, load(table.shift)), _mm256_set1_epi8(mask));
#endif
        }
    }
};

#endif

// A value for each group of a strip, spread over the lanes of its codes.
template <int Groups>
GOSSAMER_INLINE Floats::type spread(const float* value) {
#if defined(__AVX512F__)
    if constexpr (Groups == 4) {
        const __m512i lanes = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
        return (Floats::type)_mm512_permutexvar_ps(lanes, _mm512_castps128_ps512(_mm_loadu_ps(value)));
    } else if constexpr (Groups == 2) {
        return (Floats::type)_mm512_insertf32x8(_mm512_set1_ps(value[0]), _mm256_set1_ps(value[1]), 1);
    }
#elif defined(__AVX2__)
    if constexpr (Groups == 2)
        return (Floats::type)_mm256_insertf128_ps(_mm256_set1_ps(value[0]), _mm_set1_ps(value[1]), 1);
#endif
    return Floats::splat(*value);
}

template <int Groups>
GOSSAMER_INLINE Bytes::type spread(const std::uint8_t* value) {
#if defined(__AVX512F__)
    if constexpr (Groups == 4) {
        std::int32_t four;
        std::memcpy(&four, value, 4);
        const __m512i lanes = _mm512_set_epi64(0x0303030303030303, 0x0303030303030303, 0x0202020202020202,
                                               0x0202020202020202, 0x0101010101010101, 0x0101010101010101, 0, 0);
        return (Bytes::type)_mm512_shuffle_epi8(_mm512_set1_epi32(four), lanes);
    } else if constexpr (Groups == 2) {
        return (Bytes::type)_mm512_inserti64x4(_mm512_set1_epi8(static_cast<char>(value[0])),
                                               _mm256_set1_epi8(static_cast<char>(value[1])), 1);
    }
#elif defined(__AVX2__)
    if constexpr (Groups == 2)
        return (Bytes::type)_mm256_inserti128_si256(_mm256_set1_epi8(static_cast<char>(value[0])),
                                                    _mm_set1_epi8(static_cast<char>(value[1])), 1);
#endif
    return Bytes::splat(*value);
}

} // namespace gossamer::inline GOSSAMER_ISA
