// Portable SIMD by compiler vector extensions. Everything lives in an inline namespace named after the ISA that
// the including source is compiled for, so that one template compiled three times stays three functions. For the
// same reason nothing here calls a function template of the standard library: its one copy in the program could
// be the one compiled for AVX-512.
#pragma once

#include <cstdint>
#include <cstring>

#if !defined(GOSSAMER_NEON)
#define GOSSAMER_NEON 0 // else 1, or 2 with the integer dot product: what the build says of the sources of those paths
#endif

#if defined(__AVX512BF16__)
#define GOSSAMER_ISA on_avx512bf16
#elif defined(__AVX512VNNI__)
#define GOSSAMER_ISA on_avx512
#elif defined(__AVX2__)
#define GOSSAMER_ISA on_avx2
#elif GOSSAMER_NEON >= 2
#define GOSSAMER_ISA on_neon_dot
#elif GOSSAMER_NEON
#define GOSSAMER_ISA on_neon
#else
#define GOSSAMER_ISA on_portable
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#elif GOSSAMER_NEON
#include <arm_neon.h>
#endif

#define GOSSAMER_INLINE inline __attribute__((always_inline))

namespace gossamer::inline GOSSAMER_ISA {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif
#if defined(__AVX512F__) || GOSSAMER_NEON
inline constexpr int vector_registers = 32;
#else
inline constexpr int vector_registers = 16;
#endif

template <class T>
constexpr T least(T a, T b) { return b < a ? b : a; }

template <class T>
constexpr T most(T a, T b) { return a < b ? b : a; }

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) { return ceil_div(a, b) * b; }

template <class T, int Bytes>
struct simd_of {
    static constexpr int width = Bytes / static_cast<int>(sizeof(T));
    typedef T type __attribute__((vector_size(Bytes)));
    static GOSSAMER_INLINE type load(const void* p) {
        type v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }
    static GOSSAMER_INLINE void store(void* p, type v) { std::memcpy(p, &v, sizeof v); }
    static GOSSAMER_INLINE type splat(T x) { return x - type{}; } // x + 0 would be an addition: it turns -0 into 0
    static GOSSAMER_INLINE T sum(type v) { // halves are added to halves: the same order for every caller
        if constexpr (width == 1) {
            return v[0];
        } else {
            typename simd_of<T, Bytes / 2>::type low, high;
            std::memcpy(&low, &v, sizeof low);
            std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
            return simd_of<T, Bytes / 2>::sum(low + high);
        }
    }
};

template <class T>
using simd = simd_of<T, vector_bytes>;

using float16 = std::uint16_t; // raw bits

inline float to_float(float16 half) {
#if defined(__F16C__)
    return _cvtsh_ss(half);
#elif GOSSAMER_NEON
    __fp16 value;
    std::memcpy(&value, &half, 2);
    return value;
#else
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
    std::uint32_t exponent = (half >> 10) & 0x1fu, mantissa = half & 0x3ffu, bits;
    if (exponent == 0x1f) {
        bits = sign | 0x7f800000u | (mantissa << 13);
    } else if (exponent) {
        bits = sign | ((exponent + 112) << 23) | (mantissa << 13);
    } else if (mantissa) {
        int shift = __builtin_clz(mantissa) - 21;
        bits = sign | ((113u - static_cast<std::uint32_t>(shift)) << 23) | ((mantissa << (shift + 13)) & 0x7fffffu);
    } else {
        bits = sign;
    }
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
#endif
}

// out[i] = half[i]
inline void to_floats(const float16* half, std::int64_t count, float* out) {
    std::int64_t i = 0;
#if defined(__AVX512F__)
    for (; i + 16 <= count; i += 16)
        _mm512_storeu_ps(out + i, _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(half + i))));
#elif defined(__F16C__)
    for (; i + 8 <= count; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(half + i))));
#elif GOSSAMER_NEON
    for (; i + 4 <= count; i += 4) vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(half + i))));
#endif
    for (; i < count; ++i) out[i] = to_float(half[i]);
}

} // namespace gossamer::inline GOSSAMER_ISA
