// What a product with a low-rank term does: `right x` first, then `left` times that, added to rows that are at hand.
#pragma once

#include "../dispatch/dense.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "../quant/dequantise.hpp"
#include "lowrank.hpp"

#include <type_traits>

namespace gossamer::lowrank {
inline namespace GOSSAMER_ISA {

inline float widened(std::uint16_t bfloat) {
    const std::uint32_t bits = static_cast<std::uint32_t>(bfloat) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}

// a . b for bfloat16 `a`, without a widened copy
inline float dot_bfloat(const std::uint16_t* a, const float* b, std::int64_t count) {
    float total = 0;
    std::int64_t i = 0;
#if defined(__AVX512F__)
    __m512 sums[2] = {};
    const auto wide = [a](std::int64_t at) {
        const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + at));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    };
    for (; i + 32 <= count; i += 32)
        for (int k = 0; k < 2; ++k) sums[k] = _mm512_fmadd_ps(wide(i + 16 * k), _mm512_loadu_ps(b + i + 16 * k), sums[k]);
    total = _mm512_reduce_add_ps(_mm512_add_ps(sums[0], sums[1]));
#elif defined(__AVX2__)
    __m256 sums[2] = {};
    const auto wide = [a](std::int64_t at) {
        const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(a + at));
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
    };
    for (; i + 16 <= count; i += 16)
        for (int k = 0; k < 2; ++k) sums[k] = _mm256_fmadd_ps(wide(i + 8 * k), _mm256_loadu_ps(b + i + 8 * k), sums[k]);
    total = simd<float>::sum((simd<float>::type)_mm256_add_ps(sums[0], sums[1]));
#elif GOSSAMER_NEON
    float4 sums[4] = {};
    for (; i + 16 <= count; i += 16)
        for (int k = 0; k < 4; ++k) sums[k] += widen_brain(vld1_u16(a + i + 4 * k)) * (float4)vld1q_f32(b + i + 4 * k);
    total = simd<float>::sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
#endif
    for (; i < count; ++i) total += widened(a[i]) * b[i];
    return total;
}

// Rows of a factor as floating-point numbers.
template <class Real>
class Rows {
public:
    explicit Rows(const Factor& factor) : f_(factor) {
        native_ = f_.storage == (std::is_same_v<Real, float> ? Storage::float32 : Storage::float64);
        stride_ = f_.storage == Storage::codes ? f_.groups_per_row * f_.groups.group : f_.cols;
    }
    static constexpr std::int64_t panel = 16; // rows widened at a time

    std::int64_t bytes() const { // of working memory
        if (native_) return 0;
        return round_up(panel * stride_ * static_cast<std::int64_t>(sizeof(Real)), 64) +
               (f_.storage == Storage::codes ? batch_bytes(f_.groups) : 0);
    }

    // y[count, n] (+)= factor[first .. first + count) x
    void multiply(std::int64_t first, std::int64_t count, const Real* x, std::int64_t n, Real* y, bool accumulate,
                  std::byte* memory) const {
        if constexpr (std::is_same_v<Real, float>)
            if (n == 1 && f_.storage == Storage::bfloat16) {
                const auto* values = static_cast<const std::uint16_t*>(f_.values) + first * f_.cols;
                for (std::int64_t r = 0; r < count; ++r) {
                    const float product = dot_bfloat(values + r * f_.cols, x, f_.cols);
                    y[r] = accumulate ? y[r] + product : product;
                }
                return;
            }
        for (std::int64_t at = 0; at < count; at += panel) {
            const std::int64_t rows = least(panel, count - at);
            panel_times_matrix(wide(first + at, rows, memory), stride_, rows, f_.cols, x, n, y + at * n, accumulate);
        }
    }

private:
    const Real* wide(std::int64_t first, std::int64_t count, std::byte* memory) const {
        if (native_) return static_cast<const Real*>(f_.values) + first * f_.cols;
        auto* out = reinterpret_cast<Real*>(memory);
        if (f_.storage == Storage::codes) {
            auto* codes = reinterpret_cast<std::uint8_t*>(memory) +
                          round_up(panel * stride_ * static_cast<std::int64_t>(sizeof(Real)), 64);
            dequantise(f_.groups, first * f_.groups_per_row, count * f_.groups_per_row, codes, out);
            return out;
        }
        const std::int64_t size = count * f_.cols, from = first * f_.cols;
        if (f_.storage == Storage::bfloat16)
            for (std::int64_t i = 0; i < size; ++i) out[i] = widened(static_cast<const std::uint16_t*>(f_.values)[from + i]);
        else if (f_.storage == Storage::float32)
            for (std::int64_t i = 0; i < size; ++i) out[i] = static_cast<Real>(static_cast<const float*>(f_.values)[from + i]);
        else
            for (std::int64_t i = 0; i < size; ++i) out[i] = static_cast<Real>(static_cast<const double*>(f_.values)[from + i]);
        return out;
    }

    const Factor& f_;
    bool native_;
    std::int64_t stride_;
};

// A term on its way into a product. Without one (null) it adds nothing.
template <class Real>
class Added {
public:
    Added(const Term* term, const Real* x, std::int64_t n, int threads)
        : term_(term), n_(n), memory_(term ? most(Rows<Real>(term->left).bytes(), Rows<Real>(term->right).bytes()) : 0, threads),
          inner_(term ? term->right.rows * n * static_cast<std::int64_t>(sizeof(Real)) : 0, 1) {
        if (!term) return;
        const Rows<Real> right(term->right);
        const std::int64_t rank = term->right.rows;
        constexpr std::int64_t rows = 8;
        const int useful = worthwhile_threads(2 * rank * term->right.cols * n, threads);
        parallel_chunks_by_thread(ceil_div(rank, rows), useful, [&](std::int64_t part, int thread) {
            right.multiply(part * rows, least(rows, rank - part * rows), x, n, inner() + part * rows * n, false,
                           memory_.part(thread));
        });
    }

    // Adds the term's rows [first, last) to `y`, where row `first` begins; `thread` < threads.
    void rows(std::int64_t first, std::int64_t last, Real* y, int thread) const {
        if (term_ && first < last)
            Rows<Real>(term_->left).multiply(first, last - first, inner(), n_, y, true, memory_.part(thread));
    }

private:
    Real* inner() const { return reinterpret_cast<Real*>(inner_.part(0)); }

    const Term* term_;
    std::int64_t n_;
    Scratch memory_, inner_;
};

} // namespace GOSSAMER_ISA
} // namespace gossamer::lowrank
