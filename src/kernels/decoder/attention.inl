// Attention over one page of the cache. Scores: lanes are 16 positions. Values: lanes are 16 dimensions.
#include "../linear/lanes.inl"
#include "ops.hpp"

namespace gossamer::decoder {
inline namespace GOSSAMER_ISA {

using namespace linear;

// e^x for x <= 88; below -87 it gives e^-87. Cephes' polynomial, relative error < 2e-7.
GOSSAMER_INLINE v16f exponential(v16f x) {
    x = select(x < -87.0f, splat(-87.0f), x);
    x = select(x > 88.0f, splat(88.0f), x);
    const v16f scaled = x * 1.44269504f;
    const v16i whole = to_integers(scaled + select(scaled < 0.0f, splat(-0.5f), splat(0.5f)));
    const v16f n = to_floats(whole);
    const v16f r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    v16f p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return p * (v16f)((whole + 127) << 23);
}

inline float16 to_half(float value) {
#if defined(__F16C__)
    return _cvtss_sh(value, 0);
#elif GOSSAMER_NEON
    const __fp16 half = static_cast<__fp16>(value);
    float16 bits;
    std::memcpy(&bits, &half, 2);
    return bits;
#else
    std::uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x47800000u) // 65536 and more, infinity, NaN
        return static_cast<float16>(sign | (magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u));
    if (magnitude < 0x38800000u) { // subnormal: adding 0.5 lets the adder round to multiples of 2^-24
        float shifted;
        std::memcpy(&shifted, &magnitude, 4);
        shifted += 0.5f;
        std::uint32_t rounded;
        std::memcpy(&rounded, &shifted, 4);
        return static_cast<float16>(sign | (rounded - 0x3f000000u));
    }
    const std::uint32_t odd = magnitude >> 13 & 1;
    return static_cast<float16>(sign | ((magnitude + 0xc8000fffu + odd) >> 13));
#endif
}

template <class T>
struct Stored;
template <>
struct Stored<float> {
    static GOSSAMER_INLINE v16f get(const float* p) { return load<v16f>(p); }
    static float make(float x, float) { return x; }
};
template <>
struct Stored<float16> {
    static GOSSAMER_INLINE v16f get(const float16* p) { return load_halves(p); }
    static float16 make(float x, float) { return to_half(x); }
};
template <>
struct Stored<std::int8_t> {
    static GOSSAMER_INLINE v16f get(const std::int8_t* p) {
#if defined(__AVX512F__)
        return (v16f)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#elif GOSSAMER_NEON
        const int8x16_t all = vld1q_s8(p);
        const int16x8_t low = vmovl_s8(vget_low_s8(all)), high = vmovl_high_s8(all);
        return to_floats(v16i{{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)}});
#elif defined(__AVX2__)
        return v16f::each([&](int i) {
            const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + 8 * i));
            return (float8)_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight));
        });
#else
        v16f v;
        for (int i = 0; i < 16; ++i) v[i] = p[i];
        return v;
#endif
    }
    static std::int8_t make(float x, float inverse) { return static_cast<std::int8_t>(__builtin_lrintf(x * inverse)); }
};

// One row's scale, and its inverse.
inline float row_scale(const float* x, int n, float* inverse) {
    float top = 0;
    for (int i = 0; i < n; ++i) top = __builtin_fabsf(x[i]) > top ? __builtin_fabsf(x[i]) : top;
    *inverse = top > 0 ? 127.0f / top : 0.0f;
    return top / 127.0f;
}

template <class T>
void put_row(const KvView& to, int position, int width, const float* key, const float* value) {
    constexpr bool scaled = sizeof(T) == 1;
    float key_inverse = 1, value_inverse = 1;
    if constexpr (scaled) {
        to.key_scale[position] = row_scale(key, width, &key_inverse);
        to.value_scale[position] = row_scale(value, width, &value_inverse);
    }
    T* keys = static_cast<T*>(to.keys) + static_cast<std::int64_t>(position / 16) * width * 16 + position % 16;
    T* values = static_cast<T*>(to.values) + static_cast<std::int64_t>(position) * width;
    for (int d = 0; d < width; ++d) keys[d * 16] = Stored<T>::make(key[d], key_inverse);
    for (int d = 0; d < width; ++d) values[d] = Stored<T>::make(value[d], value_inverse);
}

template <class T, int R>
void attend_rows(const KvView& page, int width, const float* q, const int* limit, Partial* partials) {
    constexpr bool scaled = sizeof(T) == 1;
    alignas(64) float weights[R][page_positions];
    int count = 0;
    for (int r = 0; r < R; ++r) count = limit[r] > count ? limit[r] : count;
    const int pairs = (count + 31) / 32; // two blocks of 16 at once: enough independent chains
    alignas(64) constexpr std::int32_t lanes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    const v16i lane = load<v16i>(lanes);
    v16f top[R];
    for (int r = 0; r < R; ++r) top[r] = splat(partials[r].top);
    for (int pair = 0; pair < pairs; ++pair) {
        v16f scores[2][R] = {};
        const T* keys = static_cast<const T*>(page.keys) + static_cast<std::int64_t>(pair) * 32 * width;
        for (int d = 0; d < width; ++d)
            for (int b = 0; b < 2; ++b) {
                const v16f k = Stored<T>::get(keys + (b * width + d) * 16);
                for (int r = 0; r < R; ++r) scores[b][r] += k * q[r * width + d];
            }
        for (int b = 0; b < 2; ++b) {
            const int first = pair * 32 + b * 16;
            for (int r = 0; r < R; ++r) {
                v16f s = scores[b][r];
                if constexpr (scaled) s *= load<v16f>(page.key_scale + first);
                s = select(lane + first < limit[r], s, splat(-__builtin_inff()));
                top[r] = select(s > top[r], s, top[r]);
                store(weights[r] + first, s);
            }
        }
    }
    for (int r = 0; r < R; ++r) {
        float best = top[r][0];
        for (int k = 1; k < 16; ++k) best = top[r][k] > best ? top[r][k] : best;
        v16f sum{};
        for (int at = 0; at < 32 * pairs; at += 16) {
            v16f w = exponential(load<v16f>(weights[r] + at) - best);
            w = select(lane + at < limit[r], w, v16f{});
            sum += w;
            if constexpr (scaled) w *= load<v16f>(page.value_scale + at);
            store(weights[r] + at, w);
        }
        const v16f old = exponential(splat(partials[r].top - best));
        const float keep = partials[r].sum > 0 ? old[0] : 0.0f;
        partials[r].top = best;
        partials[r].sum = partials[r].sum * keep + sum_lanes(sum);
        for (int d = 0; d < width; ++d) partials[r].values[d] *= keep;
    }
    const T* values = static_cast<const T*>(page.values);
    const auto gather = [&]<int D>(int start) { // D vectors of dimensions stay in registers
        v16f acc[R][D];
        for (int r = 0; r < R; ++r)
            for (int d = 0; d < D; ++d) acc[r][d] = load<v16f>(partials[r].values + start + 16 * d);
        for (int at = 0; at < count; ++at)
            for (int d = 0; d < D; ++d) {
                const v16f v = Stored<T>::get(values + static_cast<std::int64_t>(at) * width + start + 16 * d);
                for (int r = 0; r < R; ++r) acc[r][d] += v * weights[r][at];
            }
        for (int r = 0; r < R; ++r)
            for (int d = 0; d < D; ++d) store(partials[r].values + start + 16 * d, acc[r][d]);
    };
    int start = 0;
    for (; start + 64 <= width; start += 64) gather.template operator()<4>(start);
    for (; start < width; start += 16) gather.template operator()<1>(start);
}

template <class T>
void attend_page(const KvView& page, const AttendArguments& a) {
    int r = 0;
    const auto some = [&]<int R>() {
        attend_rows<T, R>(page, a.width, a.q + static_cast<std::int64_t>(r) * a.width, a.limit + r, a.partials + r);
        r += R;
    };
    for (; r + 4 <= a.queries;) some.template operator()<4>();
    if (r + 3 <= a.queries) some.template operator()<3>();
    if (r + 2 <= a.queries) some.template operator()<2>();
    if (r < a.queries) some.template operator()<1>();
}

inline void put(KvType type, const KvView& to, int position, int width, const float* key, const float* value) {
    if (type == KvType::float16) return put_row<float16>(to, position, width, key, value);
    if (type == KvType::float32) return put_row<float>(to, position, width, key, value);
    put_row<std::int8_t>(to, position, width, key, value);
}

inline void attend(KvType type, const KvView& page, const AttendArguments& a) {
    if (type == KvType::float16) return attend_page<float16>(page, a);
    if (type == KvType::float32) return attend_page<float>(page, a);
    attend_page<std::int8_t>(page, a);
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::decoder
