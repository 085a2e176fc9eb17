// Everything that is compiled once per ISA; each <isa>.cpp includes it and exports its table.
#include "attention.inl"

namespace gossamer::decoder {
inline namespace GOSSAMER_ISA {

inline void rms_norm(const float* x, const float* weight, int n, float eps, float* out) {
    v16f squares{};
    float rest = 0;
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        const v16f v = load<v16f>(x + i);
        squares += v * v;
    }
    for (int k = i; k < n; ++k) rest += x[k] * x[k];
    const float factor = 1.0f / __builtin_sqrtf((sum_lanes(squares) + rest) / static_cast<float>(n) + eps);
    for (i = 0; i + 16 <= n; i += 16) store(out + i, load<v16f>(weight + i) * (load<v16f>(x + i) * factor));
    for (; i < n; ++i) out[i] = weight[i] * (x[i] * factor);
}

inline void rotate(float* head, const float* cosine, const float* sine, int half) {
    int i = 0;
    for (; i + 16 <= half; i += 16) {
        const v16f a = load<v16f>(head + i), b = load<v16f>(head + half + i);
        const v16f c = load<v16f>(cosine + i), s = load<v16f>(sine + i);
        store(head + i, a * c - b * s);
        store(head + half + i, b * c + a * s);
    }
    for (; i < half; ++i) {
        const float a = head[i], b = head[half + i];
        head[i] = a * cosine[i] - b * sine[i];
        head[half + i] = b * cosine[i] + a * sine[i];
    }
}

inline void swiglu(float* gate, const float* up, int n) {
    for (int i = 0; i < n; i += 16) {
        const int count = smaller(16, n - i);
        v16f g{}, u{};
        std::memcpy(&g, gate + i, sizeof(float) * count);
        std::memcpy(&u, up + i, sizeof(float) * count);
        g = g / (1.0f + exponential(-g)) * u;
        std::memcpy(gate + i, &g, sizeof(float) * count);
    }
}

inline void add(float* y, const float* x, int n) {
    for (int i = 0; i < n; ++i) y[i] += x[i];
}

inline int argmax(const float* x, int n) {
    v16f top = splat(-__builtin_inff());
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        const v16f v = load<v16f>(x + i);
        top = select(v > top, v, top);
    }
    float best = -__builtin_inff();
    for (int k = 0; k < 16; ++k) best = top[k] > best ? top[k] : best;
    for (; i < n; ++i) best = x[i] > best ? x[i] : best;
    for (int k = 0; k < n; ++k)
        if (x[k] == best) return k;
    return 0; // only NaN
}

inline float exponentials(const float* x, int n, float top, float factor, float* out) {
    double total = 0;
    for (int i = 0; i < n; i += 16) {
        const int count = smaller(16, n - i);
        v16f v = splat(-__builtin_inff());
        std::memcpy(&v, x + i, sizeof(float) * count);
        v = exponential((v - top) * factor);
        for (int k = count; k < 16; ++k) v[k] = 0;
        std::memcpy(out + i, &v, sizeof(float) * count);
        total += sum_lanes(v);
    }
    return static_cast<float>(total);
}

inline constexpr Ops kernels{rms_norm, rotate, swiglu, put, attend, add, argmax, exponentials};

} // namespace GOSSAMER_ISA
} // namespace gossamer::decoder
