// Attention of one head, layer norm and GELU, sixteen lanes at a time; each <isa>.cpp includes this.
#include "../linear/lanes.inl"
#include "encoder.hpp"

#include <cmath>

namespace gossamer::encoder {
inline namespace GOSSAMER_ISA {

using namespace linear;

// e^x for x <= 88, relative error below 3e-7; flushes to 0 below -87
GOSSAMER_INLINE v16f exponential(v16f x) {
    const v16f low = splat(-87.0f);
    x = select(x < low, low, x);
    const v16f magic = splat(12582912.0f); // 1.5 * 2^23: adding it rounds to an integer
    const v16f n = (x * 1.44269504f + magic) - magic;
    const v16f r = (x - n * 0.693359375f) + n * 2.12194440e-4f; // ln 2 in two parts
    v16f p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const v16i exponent = to_integers(n) + 127;
    return p * (v16f)(exponent << 23);
}

// erf, absolute error below 3e-7 (Abramowitz and Stegun 7.1.26)
GOSSAMER_INLINE v16f error_function(v16f x) {
    const v16f size = select(x < 0.0f, -x, x);
    const v16f t = 1.0f / (1.0f + 0.3275911f * size);
    v16f p = splat(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const v16f value = 1.0f - p * t * exponential(-(size * size));
    return select(x < 0.0f, -value, value);
}

GOSSAMER_INLINE v16f load_part(const float* p, int count) {
    if (count >= 16) return load<v16f>(p);
    v16f v{};
    for (int i = 0; i < count; ++i) v[i] = p[i];
    return v;
}

inline void gelu(const float* y, const float* bias, int size, float* out) {
    for (int i = 0; i < size; i += 16) {
        const v16f x = load_part(y + i, size - i) + load_part(bias + i, size - i);
        store_some(out + i, 0.5f * x * (1.0f + error_function(x * 0.70710678f)), size - i);
    }
}

inline void add_norm(const float* residual, const float* y, const float* bias, Norm norm, float eps, int size,
                     float* out) {
    v16f total{};
    for (int i = 0; i < size; i += 16) {
        v16f x = load_part(residual + i, size - i) + load_part(y + i, size - i);
        x += load_part(bias + i, size - i);
        store_some(out + i, x, size - i);
        total += x;
    }
    const float mean = sum_lanes(total) / static_cast<float>(size);
    v16f squares{};
    for (int i = 0; i < size; i += 16) {
        v16f x = load_part(out + i, size - i) - mean;
        for (int lane = size - i; lane < 16; ++lane) x[lane] = 0;
        squares += x * x;
    }
    const float scale = 1.0f / std::sqrt(sum_lanes(squares) / static_cast<float>(size) + eps);
    for (int i = 0; i < size; i += 16) {
        const v16f x = (load_part(out + i, size - i) - mean) * scale;
        store_some(out + i, x * load_part(norm.weight + i, size - i) + load_part(norm.bias + i, size - i), size - i);
    }
}

GOSSAMER_INLINE float largest_lane(v16f v) {
#if defined(__AVX512F__)
    return _mm512_reduce_max_ps((__m512)v);
#else
    float top = v[0];
    for (int lane = 1; lane < 16; ++lane) top = v[lane] > top ? v[lane] : top;
    return top;
#endif
}

// Keys are transposed and values copied with their biases into scratch memory, so that every inner loop runs over
// whole vectors; queries come in tiles of four.
inline void attend(const Head& h) {
    constexpr int tile = 4;
    const int padded = (h.length + 15) / 16 * 16, width = (h.size + 15) / 16 * 16;
    float* keys = scratch(static_cast<std::size_t>(padded) * h.size + static_cast<std::size_t>(h.length) * width +
                          tile * (padded + width));
    float* values = keys + static_cast<std::int64_t>(padded) * h.size;
    float* scores = values + static_cast<std::int64_t>(h.length) * width;
    float* scaled = scores + tile * padded;
    for (int t = 0; t < h.length; ++t) {
        const float *k = h.k + t * h.stride, *v = h.v + t * h.stride;
        for (int d = 0; d < h.size; ++d) keys[static_cast<std::int64_t>(d) * padded + t] = k[d] + h.k_bias[d];
        for (int d = 0; d < h.size; d += 16) // lanes past the head are zeros
            store(values + static_cast<std::int64_t>(t) * width + d, load_part(v + d, h.size - d) + load_part(h.v_bias + d, h.size - d));
    }
    for (int d = 0; d < h.size; ++d)
        for (int t = h.length; t < padded; ++t) keys[static_cast<std::int64_t>(d) * padded + t] = 0;
    const float root = 1.0f / std::sqrt(static_cast<float>(h.size));
    for (int first = 0; first < h.length; first += tile) {
        const int count = smaller(tile, h.length - first);
        for (int i = 0; i < tile; ++i) { // the last tile repeats its last query
            const float* q = h.q + (first + smaller(i, count - 1)) * h.stride;
            for (int d = 0; d < h.size; d += 16)
                store(scaled + i * width + d, (load_part(q + d, h.size - d) + load_part(h.q_bias + d, h.size - d)) * root);
        }
        v16f best[tile];
        for (int i = 0; i < tile; ++i) best[i] = splat(-INFINITY);
        for (int t = 0; t < padded; t += 16) {
            v16f sums[tile] = {};
            for (int d = 0; d < h.size; ++d) {
                const v16f k = load<v16f>(keys + static_cast<std::int64_t>(d) * padded + t);
                for (int i = 0; i < tile; ++i) sums[i] += k * scaled[i * width + d];
            }
            for (int i = 0; i < tile; ++i) {
                for (int lane = h.length - t; lane < 16; ++lane) sums[i][lane] = -INFINITY;
                store(scores + i * padded + t, sums[i]);
                best[i] = select(sums[i] > best[i], sums[i], best[i]);
            }
        }
        float inverse[tile];
        for (int i = 0; i < tile; ++i) {
            const float top = largest_lane(best[i]);
            v16f total{};
            for (int t = 0; t < padded; t += 16) {
                v16f p = exponential(load<v16f>(scores + i * padded + t) - top);
                for (int lane = h.length - t; lane < 16; ++lane) p[lane] = 0;
                store(scores + i * padded + t, p);
                total += p;
            }
            inverse[i] = 1.0f / sum_lanes(total);
        }
        for (int d = 0; d < width; d += 16) {
            v16f sums[tile] = {};
            for (int t = 0; t < h.length; ++t) {
                const v16f v = load<v16f>(values + static_cast<std::int64_t>(t) * width + d);
                for (int i = 0; i < tile; ++i) sums[i] += v * scores[i * padded + t];
            }
            for (int i = 0; i < count; ++i)
                store_some(h.out + (first + i) * h.out_stride + d, sums[i] * inverse[i], h.size - d);
        }
    }
}

inline constexpr Table kernels{attend, add_norm, gelu};

} // namespace GOSSAMER_ISA
} // namespace gossamer::encoder
