// Portable SIMD by compiler vector extensions. Everything lives in an inline namespace named after the ISA that
// the including source is compiled for, so that one template compiled three times stays three functions.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512VNNI__)
#define GOSSAMER_ISA on_avx512
#elif defined(__AVX2__)
#define GOSSAMER_ISA on_avx2
#else
#define GOSSAMER_ISA on_portable
#endif

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gossamer::inline GOSSAMER_ISA {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif

template <class T>
struct simd {
    static constexpr int width = vector_bytes / static_cast<int>(sizeof(T));
    typedef T type __attribute__((vector_size(vector_bytes)));
    static type load(const T* p) {
        type v;
        std::memcpy(&v, p, sizeof v);
        return v;
    }
    static void store(T* p, type v) { std::memcpy(p, &v, sizeof v); }
    static type splat(T x) { return type{} + x; }
    static T sum(type v) {
        T total = 0;
        for (int i = 0; i < width; ++i) total += v[i];
        return total;
    }
};

using float16 = std::uint16_t; // raw bits

inline float to_float(float16 half) {
#if defined(__F16C__)
    return _cvtsh_ss(half);
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

} // namespace gossamer::inline GOSSAMER_ISA
