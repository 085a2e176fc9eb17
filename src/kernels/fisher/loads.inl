// Vectors of float64 and float32 from numbers in any of the stored types.
#pragma once

#include "../dispatch/simd.hpp"
#include "fisher.hpp"

namespace gossamer::fisher {
inline namespace GOSSAMER_ISA {

using V = simd<double>;
using W = simd<float>;

inline double widen(float v) { return v; }
inline double widen(double v) { return v; }
inline double widen(bfloat16 v) {
    const std::uint32_t bits = static_cast<std::uint32_t>(v.bits) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// GCC makes two halves of a vector conversion from float to double and moves them together: written out instead
template <class Value>
GOSSAMER_INLINE V::type load_wide(const Value* p) {
    if constexpr (sizeof(Value) == 8) {
        return V::load(p);
    } else if constexpr (sizeof(Value) == 4) {
#if defined(__AVX512F__)
        return (V::type)_mm512_cvtps_pd(_mm256_loadu_ps(reinterpret_cast<const float*>(p)));
#elif defined(__AVX2__)
        return (V::type)_mm256_cvtps_pd(_mm_loadu_ps(reinterpret_cast<const float*>(p)));
#else
        typedef float narrow __attribute__((vector_size(V::width * 4)));
        narrow v;
        std::memcpy(&v, p, sizeof v);
        return __builtin_convertvector(v, V::type);
#endif
    } else {
#if defined(__AVX512F__)
        const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
        return (V::type)_mm512_cvtps_pd(_mm256_castsi256_ps(_mm256_slli_epi32(bits, 16)));
#elif defined(__AVX2__)
        const __m128i bits = _mm_cvtepu16_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
        return (V::type)_mm256_cvtps_pd(_mm_castsi128_ps(_mm_slli_epi32(bits, 16)));
#else
        V::type values{};
        for (int i = 0; i < V::width; ++i) values[i] = widen(p[i]);
        return values;
#endif
    }
}

GOSSAMER_INLINE W::type load_floats(const bfloat16* p) {
#if defined(__AVX512F__)
    const __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    return (W::type)_mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
#elif defined(__AVX2__)
    const __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return (W::type)_mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
#else
    W::type values{};
    for (int i = 0; i < W::width; ++i) values[i] = static_cast<float>(widen(p[i]));
    return values;
#endif
}

template <int Half>
GOSSAMER_INLINE V::type widen_half(W::type v) {
    float values[W::width];
    std::memcpy(values, &v, sizeof values);
    return load_wide(values + Half * V::width);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fisher
