// Groups of codes to floating-point weights.
#pragma once

#include "codes.hpp"

#include <type_traits>
#include <utility>

namespace gossamer::inline GOSSAMER_ISA {

inline constexpr std::int64_t batch_groups = 64, batch_codes = 4096;

// Bytes of working memory that unpack() and dequantise() need.
inline std::int64_t batch_bytes(const QuantisedGroups& w) { return most(batch_codes, padded(w)) + strip; }

#if GOSSAMER_PACKED

template <int Bits, int Repeat>
void unpack_packed(const std::uint8_t* from, std::int64_t count, std::uint8_t* out) {
    using L = Layout<Bits, Repeat>;
    constexpr std::int64_t bytes = Bits * L::group / 8;
    if constexpr (L::period > 1) {
        const auto strips = [&]<int... Which>(std::integer_sequence<int, Which...>) __attribute__((always_inline)) {
            for (std::int64_t g = 0; g < count; ++g)
                (Bytes::store(out + g * L::group + Which * strip, L::template load<Which>(from + g * bytes)), ...);
        };
        strips(std::make_integer_sequence<int, L::period>{});
    } else {
        std::int64_t g = 0;
        for (; g + L::groups <= count; g += L::groups)
            Bytes::store(out + g * L::group, L::template load<0>(from + g * bytes));
        if (g >= count) return;
        std::uint8_t rest[strip] = {};
        std::memcpy(rest, from + g * bytes, static_cast<std::size_t>((count - g) * bytes));
        Bytes::store(out + g * L::group, L::template load<0>(rest));
    }
}

template <int Bits>
bool unpack_packed(std::int64_t group, const std::uint8_t* from, std::int64_t count, std::uint8_t* out) {
    switch (group) {
        case 16: unpack_packed<Bits, 1>(from, count, out); return true;
        case 32: unpack_packed<Bits, 2>(from, count, out); return true;
        case 64: unpack_packed<Bits, 4>(from, count, out); return true;
        case 128: unpack_packed<Bits, 8>(from, count, out); return true;
        default: return false;
    }
}

#endif

// Groups [first, first + count), padded(w) codes each; writes up to a strip beyond them.
inline void unpack(const QuantisedGroups& w, std::int64_t first, std::int64_t count, std::uint8_t* out) {
#if GOSSAMER_PACKED
    const std::uint8_t* from = w.codes + first * group_bytes(w);
    if (w.bits == 2 && unpack_packed<2>(w.group, from, count, out)) return;
    if (w.bits == 4 && unpack_packed<4>(w.group, from, count, out)) return;
#endif
    for (std::int64_t g = 0; g < count; ++g) unpack_group(w, first + g, out + g * padded(w));
}

// (code - zero) scale - minus
template <class Real>
GOSSAMER_INLINE void scale_codes(const std::uint8_t* codes, std::int64_t count, Real scale, Real zero, Real minus,
                                 Real* out) {
    std::int64_t j = 0;
#if defined(__AVX512F__)
    if constexpr (std::is_same_v<Real, float>)
        for (; j + 16 <= count; j += 16) {
            const auto four = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(codes + j)));
            const auto code = (Floats::type)_mm512_cvtepi32_ps(four);
            Floats::store(out + j, (code - zero) * scale - minus);
        }
#elif defined(__AVX2__)
    if constexpr (std::is_same_v<Real, float>)
        for (; j + 8 <= count; j += 8) {
            const auto four = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + j)));
            const auto code = (Floats::type)_mm256_cvtepi32_ps(four);
            Floats::store(out + j, (code - zero) * scale - minus);
        }
#elif GOSSAMER_NEON
    if constexpr (std::is_same_v<Real, float>)
        for (; j + 8 <= count; j += 8) {
            const uint16x8_t eight = vmovl_u8(vld1_u8(codes + j));
            const auto put = [&](float* to, uint16x4_t four) {
                const Floats::type code = vcvtq_f32_u32(vmovl_u16(four));
                Floats::store(to, (code - zero) * scale - minus);
            };
            put(out + j, vget_low_u16(eight));
            put(out + j + 4, vget_high_u16(eight));
        }
#endif
    for (; j < count; ++j) out[j] = (static_cast<Real>(codes[j]) - zero) * scale - minus;
}

// Groups [first, first + count) to out[count * group]; `codes` has batch_bytes(w).
template <class Real>
void dequantise(const QuantisedGroups& w, std::int64_t first, std::int64_t count, std::uint8_t* codes, Real* out) {
    float scale[batch_groups], minus[batch_groups];
    std::uint8_t zero[batch_groups];
    const std::int64_t stride = padded(w);
    const std::int64_t batch = most<std::int64_t>(1, least(batch_groups, batch_codes / most<std::int64_t>(stride, 1)));
    for (const std::int64_t end = first + count; first < end; first += batch) {
        const std::int64_t groups = least(batch, end - first);
        unpack(w, first, groups, codes);
        to_floats(w.scale + first, groups, scale);
        expand_zeros(w, first, groups, zero);
        if (w.float_zero) to_floats(w.float_zero + first, groups, minus);
        for (std::int64_t g = 0; g < groups; ++g, out += w.group)
            scale_codes<Real>(codes + g * stride, w.group, scale[g], zero[g], w.float_zero ? minus[g] : 0.0f, out);
    }
}

} // namespace gossamer::inline GOSSAMER_ISA
