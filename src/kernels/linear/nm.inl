// At most n entries of every m <= 4 neighbours in a row, rows interleaved by 16: [row block][kept entry][16], and the
// 2-bit positions of sixteen entries of a row in one lane. A group's activations are four floats, the same for all
// rows; each lane takes its own by a permutation within them.
#pragma once

#include "dense.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

struct Half { // float16 as a type of its own: raw bfloat16 is uint16_t too
    std::uint16_t bits;
};

GOSSAMER_INLINE v16f load_weights(const Half* p) { return load_halves(reinterpret_cast<const float16*>(p)); }

// Lane i: entry (positions[i] & 3) of the four at x.
GOSSAMER_INLINE v16f pick(const float* x, v16u positions) {
#if defined(__AVX512F__)
    return (v16f)_mm512_permutevar_ps(_mm512_broadcast_f32x4(_mm_loadu_ps(x)), (__m512i)positions);
#elif defined(__AVX2__)
    const __m256 four = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(x));
    return v16f::each([&](int i) { return (float8)_mm256_permutevar_ps(four, (__m256i)positions.part[i]); });
#elif GOSSAMER_NEON
    const uint8x16_t four = vreinterpretq_u8_f32(vld1q_f32(x));
    return v16f::each([&](int i) { // a position in all four bytes, four times, and the bytes of a float
        const uint32x4_t position = vandq_u32(positions.part[i], vdupq_n_u32(3));
        const uint32x4_t from = vmlaq_n_u32(vdupq_n_u32(0x03020100u), position, 0x04040404u);
        return (float4)vqtbl1q_u8(four, vreinterpretq_u8_u32(from));
    });
#else
    v16f v;
    for (int i = 0; i < 16; ++i) v[i] = x[positions[i] & 3u];
    return v;
#endif
}

template <class Weight>
class NM final : public Linear {
public:
    NM(int rows, int cols, const NMEntries& from, const Weight* values)
        : Linear(rows, cols, name(values)),
          n_(from.n), m_(from.m), groups_((cols + from.m - 1) / from.m), kept_(groups_ * from.n),
          words_((kept_ + 15) / 16), blocks_((rows + 15) / 16),
          values_(sizeof(Weight) * static_cast<std::size_t>(blocks_) * kept_ * 16),
          positions_(std::size_t(64) * blocks_ * words_) {
        for (std::int64_t row = 0; row < rows; ++row)
            for (std::int64_t k = 0; k < kept_; ++k) {
                const std::int64_t packed = row * ((kept_ + 3) / 4) + k / 4;
                const std::uint32_t position = from.positions[packed] >> (k % 4 * 2) & 3u;
                if (k / n_ * m_ + position >= cols) continue; // padding: the zero that is there, at position 0
                values_.as<Weight>()[((row / 16) * kept_ + k) * 16 + row % 16] = values[row * kept_ + k];
                positions_.as<std::uint32_t>()[((row / 16) * words_ + k / 16) * 16 + row % 16] |= position << (k % 16 * 2);
            }
    }

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        run_blocks(*this, rows, first, last, x, y, stride);
    }

    void row(int index, float* out) const override {
        std::memset(out, 0, sizeof(float) * cols);
        const Weight* values = values_.as<Weight>() + static_cast<std::int64_t>(index / 16) * kept_ * 16;
        const std::uint32_t* positions = positions_.as<std::uint32_t>() + static_cast<std::int64_t>(index / 16) * words_ * 16;
        for (int k = 0; k < kept_; ++k) // padding adds zero
            out[k / n_ * m_ + (positions[k / 16 * 16 + index % 16] >> (k % 16 * 2) & 3u)] +=
                load_weights(values + static_cast<std::int64_t>(k) * 16)[index % 16];
    }

    std::size_t bytes() const override { return values_.size() + positions_.size(); }

    template <int N>
    void tile(int block, const Activation& x, v16f* y) const {
        switch (n_) {
            case 1: return groups<N, 1>(block, x, y);
            case 2: return groups<N, 2>(block, x, y);
            case 3: return groups<N, 3>(block, x, y);
            default: return groups<N, 4>(block, x, y);
        }
    }

private:
    static const char* name(const float*) { return "nm-float32"; }
    static const char* name(const Half*) { return "nm-float16"; }
    static const char* name(const std::uint16_t*) { return "nm-bfloat16"; }

    template <int N, int Kept>
    void groups(int block, const Activation& x, v16f* y) const {
        constexpr int chains = N == 1 ? 4 : N == 2 ? 2 : 1;
        const Weight* values = values_.as<Weight>() + static_cast<std::int64_t>(block) * kept_ * 16;
        const std::uint32_t* words = positions_.as<std::uint32_t>() + static_cast<std::int64_t>(block) * words_ * 16;
        v16f sums[chains][N] = {};
        v16u positions{};
        const auto one = [&](int k, int chain, const float* from, std::int64_t stride) {
            positions = k % 16 ? positions >> 2 : load<v16u>(words + k / 16 * 16);
            const v16f weights = load_weights(values + static_cast<std::int64_t>(k) * 16);
            for (int t = 0; t < N; ++t) sums[chain][t] += weights * pick(from + t * stride, positions);
        };
        int group = 0;
        if constexpr (Kept == 2) // sixteen entries, one word of positions, at a time
            for (; group + 8 < groups_ - 3 / m_; group += 8) {
                positions = load<v16u>(words + group / 8 * 16);
#pragma GCC unroll 8
                for (int g = 0; g < 8; ++g)
#pragma GCC unroll 2
                    for (int i = 0; i < 2; ++i) {
                        const v16f weights = load_weights(values + (static_cast<std::int64_t>(group) * 2 + g * 2 + i) * 16);
                        for (int t = 0; t < N; ++t)
                            sums[(g * 2 + i) % chains][t] +=
                                weights * pick(x.x + t * x.stride + static_cast<std::int64_t>(group + g) * m_, positions >> (2 * (g * 2 + i)));
                    }
            }
        for (; group < groups_ - 1 - 3 / m_; ++group) // four floats from here on lie within the row
            for (int i = 0; i < Kept; ++i)
                one(group * Kept + i, (group * Kept + i) % chains, x.x + static_cast<std::int64_t>(group) * m_, x.stride);
        for (; group < groups_; ++group) {
            float four[N][4] = {};
            for (int t = 0; t < N; ++t)
                std::memcpy(four[t], x.x + t * x.stride + static_cast<std::int64_t>(group) * m_,
                            sizeof(float) * smaller(m_, cols - group * m_));
            for (int i = 0; i < Kept; ++i) one(group * Kept + i, (group * Kept + i) % chains, four[0], 4);
        }
        for (int t = 0; t < N; ++t) {
            y[t] = sums[0][t];
            for (int c = 1; c < chains; ++c) y[t] += sums[c][t];
        }
    }

    int n_, m_, groups_, kept_;
    std::int64_t words_;
    int blocks_;
    Buffer values_, positions_;
};

inline Linear* nm(int rows, int cols, const NMEntries& from) {
    if (from.type == NMEntries::float32) return new NM<float>(rows, cols, from, static_cast<const float*>(from.values));
    if (from.type == NMEntries::float16) return new NM<Half>(rows, cols, from, static_cast<const Half*>(from.values));
    return new NM<std::uint16_t>(rows, cols, from, static_cast<const std::uint16_t*>(from.values));
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
