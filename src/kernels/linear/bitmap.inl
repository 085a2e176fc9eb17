// Unstructured zeros: one bit an entry and the values of the others, row by row. Lanes are columns.
#pragma once

#include "tokens.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

// Sixteen values, those whose bit is set taken from two times sixteen in order, from `first` (at most 16) on; zero
// elsewhere.
GOSSAMER_INLINE v16f spread(std::uint32_t bits, const v16f* values, int first) {
#if defined(__AVX512F__)
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i from = _mm512_add_epi32(lane, _mm512_set1_epi32(first));
    const __m512 sixteen = _mm512_permutex2var_ps((__m512)values[0], from, (__m512)values[1]);
    return (v16f)_mm512_maskz_expand_ps(static_cast<__mmask16>(bits), sixteen);
#elif GOSSAMER_NEON // a lookup beyond either sixteen leaves zero, or what the other gave
    const auto bytes = [&](int which) {
        uint8x16x4_t all;
        for (int i = 0; i < 4; ++i) all.val[i] = (uint8x16_t)values[which].part[i];
        return all;
    };
    const uint8x16x4_t low = bytes(0), high = bytes(1);
    int next = 4 * first;
    return v16f::each([&](int i) {
        const unsigned mask = bits >> (4 * i) & 15u;
        const auto at = static_cast<std::uint8_t>(next);
        const uint8x16_t from = vaddq_u8(vld1q_u8(expand_words.from[mask]), vdupq_n_u8(at));
        next += 4 * expand_words.kept[mask];
        return (float4)vqtbx4q_u8(vqtbl4q_u8(low, from), high, vsubq_u8(from, vdupq_n_u8(64)));
    });
#elif defined(__AVX2__)
    float8 all[5] = {values[0].part[0], values[0].part[1], values[1].part[0], values[1].part[1], {}};
    return v16f::each([&](int i) { // from two neighbours, which are read as they were written
        const __m256i places = expand_places(bits >> (8 * i) & 255u);
        const float8* from = all + first / 8;
        const __m256i moved = _mm256_add_epi32(places, _mm256_set1_epi32(first % 8));
        first += __builtin_popcount(bits >> (8 * i) & 255u);
        const __m256 low = _mm256_permutevar8x32_ps((__m256)from[0], moved);
        const __m256 high = _mm256_permutevar8x32_ps((__m256)from[1], moved);
        const __m256 beyond = _mm256_castsi256_ps(_mm256_slli_epi32(moved, 28)); // sign: eight and more
        return only_kept(_mm256_blendv_ps(low, high, beyond), places);
    });
#else
    float both[32];
    std::memcpy(both, values, sizeof both);
    return expand(bits, both + first);
#endif
}

// The same of the first sixteen.
GOSSAMER_INLINE v16f spread(std::uint32_t bits, v16f values) {
#if defined(__AVX512F__)
    return (v16f)_mm512_maskz_expand_ps(static_cast<__mmask16>(bits), (__m512)values);
#elif GOSSAMER_NEON
    uint8x16x4_t all;
    for (int i = 0; i < 4; ++i) all.val[i] = (uint8x16_t)values.part[i];
    int next = 0;
    return v16f::each([&](int i) {
        const unsigned mask = bits >> (4 * i) & 15u;
        const auto at = static_cast<std::uint8_t>(next);
        const uint8x16_t from = vaddq_u8(vld1q_u8(expand_words.from[mask]), vdupq_n_u8(at));
        next += 4 * expand_words.kept[mask];
        return (float4)vqtbl4q_u8(all, from);
    });
#elif defined(__AVX2__)
    const __m256i low = expand_places(bits & 255u), high = expand_places(bits >> 8 & 255u);
    const __m256i moved = _mm256_add_epi32(high, _mm256_set1_epi32(__builtin_popcount(bits & 255u)));
    const auto first = (__m256)values.part[0], second = (__m256)values.part[1];
    const __m256 beyond = _mm256_castsi256_ps(_mm256_slli_epi32(moved, 28)); // sign: eight and more
    const __m256 joined = _mm256_blendv_ps(_mm256_permutevar8x32_ps(first, moved), _mm256_permutevar8x32_ps(second, moved), beyond);
    return {{only_kept(_mm256_permutevar8x32_ps(first, low), low), only_kept(joined, high)}};
#else
    v16f v{};
    for (int i = 0; bits; bits &= bits - 1) v[__builtin_ctz(bits)] = values[i++];
    return v;
#endif
}

class Bitmap final : public Linear {
public:
    Bitmap(int rows, int cols, const float* weight)
        : Linear(rows, cols, "bitmap-float32"), words_((cols + 15) / 16),
          bits_(std::size_t(2) * rows * words_), start_(sizeof(std::int64_t) * (rows + 1)) {
        std::int64_t kept = 0;
        for (std::int64_t at = 0; at < static_cast<std::int64_t>(rows) * cols; ++at) kept += weight[at] != 0;
        values_ = Buffer(sizeof(float) * kept);
        std::int64_t next = 0;
        for (std::int64_t row = 0; row < rows; ++row) {
            start_.as<std::int64_t>()[row] = next;
            for (std::int64_t k = 0; k < cols; ++k) {
                const float value = weight[row * cols + k];
                if (value == 0) continue;
                bits_.as<std::uint16_t>()[row * words_ + k / 16] |= static_cast<std::uint16_t>(1 << (k % 16));
                values_.as<float>()[next++] = value;
            }
        }
        start_.as<std::int64_t>()[rows] = next;
    }

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        const int end = smaller(last * unit_rows, rows);
        for (int row = first * unit_rows; row < end; ++row) {
            int token = 0;
            for (; token + 4 <= x.tokens; token += 4) product<4>(row, x.token(token), y + token * stride + row, stride);
            for (; token < x.tokens; ++token) product<1>(row, x.token(token), y + token * stride + row, stride);
        }
    }

    void row(int index, float* out) const override {
        const float* value = values_.as<float>() + start_.as<std::int64_t>()[index];
        const std::uint16_t* bits = bits_.as<std::uint16_t>() + static_cast<std::int64_t>(index) * words_;
        for (int k = 0; k < cols; ++k) out[k] = bits[k / 16] >> (k % 16) & 1 ? *value++ : 0;
    }

    std::size_t bytes() const override { return bits_.size() + values_.size(); }

private:
    template <int N>
    void product(int row, const Activation& x, float* y, std::int64_t stride) const {
        const float* value = values_.as<float>() + start_.as<std::int64_t>()[row];
        const std::uint16_t* bits = bits_.as<std::uint16_t>() + static_cast<std::int64_t>(row) * words_;
        v16f even[N] = {}, odd[N] = {};
        const int whole = cols / 16;
        const auto step = [&](int word, v16f* sums) {
            const v16f w = expand(bits[word], value);
            value += __builtin_popcount(bits[word]);
            for (int n = 0; n < N; ++n) sums[n] += w * load<v16f>(x.x + n * x.stride + word * 16);
        };
        int word = 0;
        for (; word + 2 <= whole; word += 2) step(word, even), step(word + 1, odd);
        if (word < whole) step(word, even);
        float rest[N] = {};
        for (int k = whole * 16; k < cols; ++k)
            if (bits[k / 16] >> (k % 16) & 1) {
                for (int n = 0; n < N; ++n) rest[n] += *value * x.x[n * x.stride + k];
                ++value;
            }
        for (int n = 0; n < N; ++n) y[n * stride] = sum_lanes(even[n] + odd[n]) + rest[n];
    }

    std::int64_t words_;
    Buffer bits_, start_, values_;
};

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
