// Activations rounded to int8 in blocks of 32, in records that lie as the weights will want to read them.
#pragma once

#include "codes.hpp"

#include <cstddef>

namespace gossamer::inline GOSSAMER_ISA {

inline constexpr int block = 32;

// A record is `unit` codes and then their scales, one for every 4 codes (a lane of the integer product).
constexpr std::int64_t record_bytes(std::int64_t codes) { return 2 * codes; }

template <int Unit>
GOSSAMER_INLINE std::byte* code_at(std::byte* records, std::int64_t k) {
    return records + k / Unit * (2 * Unit) + k % Unit;
}

template <int Unit>
GOSSAMER_INLINE std::byte* scale_at(std::byte* records, std::int64_t k) {
    return records + k / Unit * (2 * Unit) + Unit + k % Unit;
}

struct Rounding {
    float scale, inverse;
};

// The bits of |x| order as |x| does, with NaN on top: NaN in a block stays visible in its scale.
inline Rounding rounding(std::uint32_t top_bits) {
    float top;
    std::memcpy(&top, &top_bits, 4);
    return {top / 127.0f, top < 1e-35f ? 0.0f : 127.0f / top};
}

inline std::uint32_t magnitude_bits(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return bits & 0x7fffffffu;
}

inline std::int8_t rounded(float x, float inverse) {
    float value = x * inverse;
    value = value > -127.0f ? value : -127.0f; // NaN goes to -127
    value = value < 127.0f ? value : 127.0f;
#if defined(__SSE2__)
    return static_cast<std::int8_t>(_mm_cvtss_si32(_mm_set_ss(value)));
#else
    return static_cast<std::int8_t>(__builtin_rintf(value));
#endif
}

// One block of one column: up to 32 entries `stride` apart, zeros after them.
template <int Unit>
void round_block(const float* x, std::int64_t stride, std::int64_t k, std::int64_t depth, std::byte* records) {
    float values[block] = {};
    const std::int64_t count = most<std::int64_t>(0, least<std::int64_t>(block, depth - k));
    for (std::int64_t j = 0; j < count; ++j) values[j] = x[(k + j) * stride];
    std::uint32_t top = 0;
    for (int j = 0; j < block; ++j) top = most(top, magnitude_bits(values[j]));
    const Rounding r = rounding(top);
    std::int8_t codes[block];
    float scales[block / 4];
#if defined(__AVX512F__)
    for (int j = 0; j < block; j += 16) {
        const __m512 limit = _mm512_set1_ps(127.0f), negative = _mm512_set1_ps(-127.0f);
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(values + j), _mm512_set1_ps(r.inverse));
        v = _mm512_min_ps(_mm512_max_ps(v, negative), limit); // max returns its second argument for NaN
        _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + j), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v)));
    }
#elif GOSSAMER_NEON
    for (int j = 0; j < block; j += 8) {
        const auto four = [&](int at) { // maxnm returns the number of a number and NaN
            const float32x4_t v = vmulq_n_f32(vld1q_f32(values + at), r.inverse);
            return vqmovn_s32(vcvtnq_s32_f32(vminq_f32(vmaxnmq_f32(v, vdupq_n_f32(-127.0f)), vdupq_n_f32(127.0f))));
        };
        vst1_s8(codes + j, vqmovn_s16(vcombine_s16(four(j), four(j + 4))));
    }
#else
    for (int j = 0; j < block; ++j) codes[j] = rounded(values[j], r.inverse);
#endif
    for (float& scale : scales) scale = r.scale;
    if constexpr (Unit < block) {
        for (int j = 0; j < block; j += Unit) {
            std::memcpy(code_at<Unit>(records, k + j), codes + j, Unit);
            std::memcpy(scale_at<Unit>(records, k + j), scales + j / 4, Unit);
        }
    } else {
        std::memcpy(code_at<Unit>(records, k), codes, block);
        std::memcpy(scale_at<Unit>(records, k), scales, block);
    }
}

// For float zero points: what one unit of `scale * z` takes from a row, sum of scale * code over the group.
template <int Unit>
float group_sum(const std::byte* records, std::int64_t from, std::int64_t to) {
    float total = 0;
    auto* bytes = const_cast<std::byte*>(records);
    for (std::int64_t k = from; k < to;) {
        const std::int64_t end = least(to, round_up(k + 1, Unit < block ? Unit : block));
        std::int32_t sum = 0;
        for (; k < end; ++k) sum += static_cast<std::int8_t>(*code_at<Unit>(bytes, k));
        float scale;
        std::memcpy(&scale, scale_at<Unit>(bytes, (end - 1) / 4 * 4), 4);
        total += scale * static_cast<float>(sum);
    }
    return total;
}

// Lane l of the result: sum of codes[4l .. 4l+3] * x[4l .. 4l+3], exact. Codes are unsigned of `Bits`, x signed.
template <int Bits>
GOSSAMER_INLINE Words::type dot4(Bytes::type codes, Bytes::type x) {
#if defined(__AVX512VNNI__)
    return (Words::type)_mm512_dpbusd_epi32(_mm512_setzero_si512(), (__m512i)codes, (__m512i)x);
#elif defined(__AVX2__)
    const auto a = (__m256i)codes, b = (__m256i)x;
    if constexpr (Bits <= 4) {
        return (Words::type)_mm256_madd_epi16(_mm256_maddubs_epi16(a, b), _mm256_set1_epi16(1));
    } else { // maddubs would saturate
        const __m256i even = _mm256_madd_epi16(_mm256_and_si256(a, _mm256_set1_epi16(255)),
                                               _mm256_srai_epi16(_mm256_slli_epi16(b, 8), 8));
        const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(a, 8), _mm256_srai_epi16(b, 8));
        return (Words::type)_mm256_add_epi32(even, odd);
    }
#elif defined(__SSE2__)
    const auto a = (__m128i)codes, b = (__m128i)x;
    const __m128i even = _mm_madd_epi16(_mm_and_si128(a, _mm_set1_epi16(255)), _mm_srai_epi16(_mm_slli_epi16(b, 8), 8));
    const __m128i odd = _mm_madd_epi16(_mm_srli_epi16(a, 8), _mm_srai_epi16(b, 8));
    return (Words::type)_mm_add_epi32(even, odd);
#elif GOSSAMER_NEON
    const auto a = (uint8x16_t)codes;
    const auto b = (int8x16_t)x;
    const int32x4_t none = vdupq_n_s32(0);
    if constexpr (Bits <= 4)
        return (Words::type)dot_bytes(none, vreinterpretq_s8_u8(a), b);
    else
        return (Words::type)(dot_bytes(none, minus_128(a), b) - dot_bytes(none, vdupq_n_s8(-128), b));
#else
    const auto a = (Words::type)codes, b = (Words::type)x;
    Words::type sum = (a & 255) * ((b << 24) >> 24);
    for (int j = 1; j < 4; ++j) sum += ((a >> (8 * j)) & 255) * ((b << (24 - 8 * j)) >> 24);
    return sum;
#endif
}

// The same of codes - zero.
template <int Bits>
GOSSAMER_INLINE Words::type dot4_less(Bytes::type codes, Bytes::type zero, Bytes::type x) {
#if GOSSAMER_NEON
    const auto b = (int8x16_t)x;
    const int32x4_t none = vdupq_n_s32(0);
    if constexpr (Bits <= 4) return (Words::type)dot_bytes(none, (int8x16_t)(codes - zero), b);
    const int8x16_t code = minus_128((uint8x16_t)codes), middle = minus_128((uint8x16_t)zero);
    return (Words::type)(dot_bytes(none, code, b) - dot_bytes(none, middle, b));
#else
    return dot4<Bits>(codes, x) - dot4<Bits>(zero, x);
#endif
}

GOSSAMER_INLINE Floats::type to_floats(Words::type v) { return __builtin_convertvector(v, Floats::type); }

} // namespace gossamer::inline GOSSAMER_ISA
