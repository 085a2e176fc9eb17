// Activations to int8 in blocks of 32: scale max|x| / 127, q = round(x / scale) to nearest even.
#pragma once

#include "lanes.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

#if defined(__AVX512F__)
inline std::int32_t quantise_half(v16f x, float inverse, std::int8_t* q) {
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps((__m512)x, _mm512_set1_ps(inverse)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q), _mm512_cvtepi32_epi8(rounded));
    return _mm512_reduce_add_epi32(rounded);
}

inline float largest(v16f a, v16f b) {
    return _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps((__m512)a), _mm512_abs_ps((__m512)b)));
}
#elif GOSSAMER_NEON
inline std::int32_t quantise_half(v16f x, float inverse, std::int8_t* q) {
    const v16i code = v16i::each([&](int i) { return vcvtnq_s32_f32(x.part[i] * inverse); });
    const int16x8_t low = vcombine_s16(vmovn_s32(code.part[0]), vmovn_s32(code.part[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(code.part[2]), vmovn_s32(code.part[3]));
    vst1q_s8(q, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
    return vaddvq_s32((code.part[0] + code.part[1]) + (code.part[2] + code.part[3]));
}

inline float largest(v16f a, v16f b) { // of numbers, as the others: maxnm leaves NaN out
    float32x4_t top = vdupq_n_f32(0);
    for (int i = 0; i < 4; ++i) top = vmaxnmq_f32(top, vmaxnmq_f32(vabsq_f32(a.part[i]), vabsq_f32(b.part[i])));
    return vmaxnmvq_f32(top);
}
#elif defined(__AVX2__)
inline std::int32_t quantise_half(v16f x, float inverse, std::int8_t* q) {
    const v16i code = v16i::each([&](int i) { return (v16i::Part)_mm256_cvtps_epi32((__m256)(x.part[i] * inverse)); });
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32((__m256i)code.part[0], (__m256i)code.part[1]), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q),
                     _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
    return simd_of<std::int32_t, 32>::sum(code.part[0] + code.part[1]);
}

inline float largest(v16f a, v16f b) {
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    __m256 top = _mm256_setzero_ps(); // first: what is no number is left out, as by the others
    for (const auto& part : {a.part[0], a.part[1], b.part[0], b.part[1]})
        top = _mm256_max_ps(_mm256_and_ps((__m256)part, magnitude), top);
    float most = 0;
    for (int i = 0; i < 8; ++i) most = top[i] > most ? top[i] : most;
    return most;
}
#else
inline std::int32_t quantise_half(v16f x, float inverse, std::int8_t* q) {
    std::int32_t sum = 0;
    for (int i = 0; i < 16; ++i) {
        const long code = __builtin_lrintf(x[i] * inverse);
        q[i] = static_cast<std::int8_t>(code);
        sum += static_cast<std::int32_t>(code);
    }
    return sum;
}

inline float largest(v16f a, v16f b) {
    float top = 0;
    for (int i = 0; i < 16; ++i) {
        top = __builtin_fabsf(a[i]) > top ? __builtin_fabsf(a[i]) : top;
        top = __builtin_fabsf(b[i]) > top ? __builtin_fabsf(b[i]) : top;
    }
    return top;
}
#endif

inline void quantise(const float* x, int cols, std::int8_t* q, float* scale, std::int32_t* sum, std::int32_t* half,
                     float* mean) {
    for (int block = 0; block * act_block < cols; ++block) {
        v16f parts[2] = {};
        const int count = smaller(act_block, cols - block * act_block);
        std::memcpy(parts, x + block * act_block, sizeof(float) * count);
        const float top = largest(parts[0], parts[1]);
        const float step = top / 127.0f, inverse = step > 0 ? 1.0f / step : 0.0f;
        scale[block] = step;
        std::int32_t total = 0;
        for (int i = 0; i < 2; ++i) {
            const std::int32_t own = quantise_half(parts[i], inverse, q + block * act_block + 16 * i);
            half[2 * block + i] = -own;
            mean[2 * block + i] = step * static_cast<float>(own);
            total += own;
        }
        sum[block] = -total;
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
