// Bits of byte flags, columns from bits, and the remembered places of a row's products.
#pragma once

#include "spgemm.hpp"
#include "table.inl"

namespace gossamer::spgemm {
inline namespace GOSSAMER_ISA {

// One value of A or B, where the ring reads values.
template <class Ring>
GOSSAMER_INLINE typename Ring::Value at(const void* values, std::int64_t p) {
    if constexpr (Ring::reads)
        return static_cast<const typename Ring::Value*>(values)[p];
    else
        return typename Ring::Value{};
}

// 64 flags of 0 or 1 as bits; they are cleared.
GOSSAMER_INLINE std::uint64_t take_flags(std::uint8_t* flags) {
    std::uint64_t bits = 0;
#if defined(__AVX512BW__)
    const __m512i held = _mm512_loadu_si512(flags);
    bits = _mm512_test_epi8_mask(held, held);
    _mm512_storeu_si512(flags, _mm512_setzero_si512());
#elif defined(__AVX2__)
    for (int half = 0; half < 2; ++half) {
        __m256i* const at = reinterpret_cast<__m256i*>(flags + 32 * half);
        const __m256i held = _mm256_loadu_si256(at);
        const int low = _mm256_movemask_epi8(_mm256_cmpgt_epi8(held, _mm256_setzero_si256()));
        bits |= static_cast<std::uint64_t>(static_cast<std::uint32_t>(low)) << (32 * half);
        _mm256_storeu_si256(at, _mm256_setzero_si256());
    }
#else
    for (int i = 0; i < 64; ++i) bits |= static_cast<std::uint64_t>(flags[i]) << i;
    std::memset(flags, 0, 64);
#endif
    return bits;
}

// Appends `first` plus the position of every bit to a list that has room for 16 more. Without a branch a bit.
GOSSAMER_INLINE std::int64_t list_bits(std::uint64_t bits, std::int64_t first, std::uint32_t* list, std::int64_t n) {
#if defined(__AVX512F__)
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i column = _mm512_add_epi32(lanes, _mm512_set1_epi32(static_cast<int>(first)));
    for (int quarter = 0; quarter < 4; ++quarter, bits >>= 16, column = _mm512_add_epi32(column, _mm512_set1_epi32(16))) {
        const auto mask = static_cast<__mmask16>(bits);
        _mm512_storeu_si512(list + n, _mm512_maskz_compress_epi32(mask, column));
        n += __builtin_popcount(mask);
    }
    return n;
#else // mostly there are few: four are written unasked
    constexpr std::uint64_t stop = std::uint64_t{1} << 63;
    const int count = __builtin_popcountll(bits);
    const auto base = static_cast<std::uint32_t>(first);
    for (int i = 0; i < 4; ++i, bits &= bits - 1) list[n + i] = base + static_cast<std::uint32_t>(__builtin_ctzll(bits | stop));
    for (int i = 4; i < count; ++i, bits &= bits - 1) list[n + i] = base + static_cast<std::uint32_t>(__builtin_ctzll(bits));
    return n + count;
#endif
}

// Whether n columns are those of `known`, moved by `shift`.
template <class Index>
GOSSAMER_INLINE bool moved(const Index* columns, const Index* known, std::int64_t n, Index shift) {
#if defined(__AVX512F__)
    if constexpr (sizeof(Index) == 4) {
        const __m512i by = _mm512_set1_epi32(static_cast<int>(shift));
        std::int64_t i = 0;
        __mmask16 differ = 0;
        do { // mostly once
            const auto mask = static_cast<__mmask16>(_bzhi_u32(0xffff, static_cast<unsigned>(least<std::int64_t>(n - i, 16))));
            const __m512i wanted = _mm512_add_epi32(_mm512_maskz_loadu_epi32(mask, known + i), by);
            differ |= _mm512_mask_cmpneq_epi32_mask(mask, _mm512_maskz_loadu_epi32(mask, columns + i), wanted);
            i += 16;
        } while (i < n);
        return differ == 0;
    }
#endif
    bool same = true;
    for (std::int64_t i = 0; i < n; ++i) same &= columns[i] == static_cast<Index>(known[i] + shift);
    return same;
}

// Values of C that one vector holds where a row is added by vectors, else 0.
template <class Ring>
inline constexpr int lanes = 0;
#if defined(__AVX512F__)
template <>
inline constexpr int lanes<PlusTimes<double>> = 8;
template <>
inline constexpr int lanes<PlusTimes<float>> = 16;

// Products number skip, skip + 1, ... of a term, spread over the lanes of a mask and added.
struct Step {
    std::uint16_t term, skip, load, mask;
};

GOSSAMER_INLINE __m512d zeros(const double*) { return _mm512_setzero_pd(); }
GOSSAMER_INLINE __m512 zeros(const float*) { return _mm512_setzero_ps(); }
GOSSAMER_INLINE __m512d add_step(__m512d sum, Step s, const double* b, double a) {
    const auto load = static_cast<__mmask8>(s.load), mask = static_cast<__mmask8>(s.mask);
    const __m512d spread = _mm512_maskz_expand_pd(mask, _mm512_maskz_loadu_pd(load, b));
    return _mm512_mask3_fmadd_pd(spread, _mm512_set1_pd(a), sum, mask);
}
GOSSAMER_INLINE __m512 add_step(__m512 sum, Step s, const float* b, float a) {
    const __m512 spread = _mm512_maskz_expand_ps(s.mask, _mm512_maskz_loadu_ps(s.load, b));
    return _mm512_mask3_fmadd_ps(spread, _mm512_set1_ps(a), sum, s.mask);
}
GOSSAMER_INLINE void store_first(double* to, __m512d v, std::int64_t n) {
    _mm512_mask_storeu_pd(to, static_cast<__mmask8>(n >= 8 ? 0xff : (1 << n) - 1), v);
}
GOSSAMER_INLINE void store_first(float* to, __m512 v, std::int64_t n) {
    _mm512_mask_storeu_ps(to, static_cast<__mmask16>(n >= 16 ? 0xffff : (1 << n) - 1), v);
}
#endif

// The columns of a row's products in the order in which they are made, and where in the row of C each one goes.
template <class Ring, class Index>
struct Program {
    std::int64_t terms, outputs, lead; // terms = 0: none is written yet; the first term with a product
    std::int64_t length[repeat_limit]; // products of each term
    std::int64_t first, begin[repeat_limit]; // of the row at hand: its entries of A, and rows of B
    Index column[repeat_limit], out[repeat_limit];
    std::uint16_t place[repeat_limit];
#if defined(__AVX512F__)
    bool ascends; // places of every term do: it can be added by vectors
    std::int64_t steps_to[repeat_limit / 8];
    Step step[repeat_limit];
#endif

    bool holds(const Job<Index>& job, std::int64_t row, Index& shift) {
        const Index *const b_ptr = job.b_ptr, *const b_col = job.b_col, *const a_col = job.a_col + job.a_ptr[row];
        if (job.a_ptr[row + 1] - job.a_ptr[row] != terms || terms == 0) return false;
        const std::int64_t k = a_col[lead], count = terms;
        if (b_ptr[k] == b_ptr[k + 1]) return false;
        shift = static_cast<Index>(b_col[b_ptr[k]] - column[0]);
        const Index* known = column;
        bool same = true;
        for (std::int64_t t = 0; t < count; ++t) {
            const std::int64_t q = b_ptr[a_col[t]], n = b_ptr[a_col[t] + 1] - q;
            if (n != length[t]) return false;
            begin[t] = q;
            same &= moved<Index>(b_col + q, known, n, shift);
            known += n;
        }
        first = job.a_ptr[row];
        return same;
    }

    // For a row of 1 to `repeat_limit` products and no more terms.
    void write(const Job<Index>& job, std::int64_t row, Entry* entries, Entry* spare) {
        std::int64_t n = 0;
        first = job.a_ptr[row];
        terms = outputs = lead = 0;
        for (std::int64_t p = first; p < job.a_ptr[row + 1]; ++p) {
            const std::int64_t k = job.a_col[p], q = job.b_ptr[k], count = job.b_ptr[k + 1] - q;
            if (n == 0) lead = terms;
            begin[terms] = q;
            length[terms++] = count;
            for (std::int64_t i = q; i < q + count; ++i, ++n) {
                column[n] = job.b_col[i];
                entries[n] = {static_cast<std::uint64_t>(column[n]), n};
            }
        }
        const Entry* const sorted = sort_entries(entries, spare, n);
        for (std::int64_t i = 0; i < n; ++i) {
            const auto next = static_cast<Index>(sorted[i].column);
            if (outputs == 0 || out[outputs - 1] != next) out[outputs++] = next;
            place[sorted[i].slot] = static_cast<std::uint16_t>(outputs - 1);
        }
#if defined(__AVX512F__)
        if constexpr (lanes<Ring> > 0) plan_vectors();
#endif
    }

    // The row that it holds for or was written for.
    void add(const Job<Index>& job, typename Ring::Value* val) const {
        using Value = typename Ring::Value;
        const auto* const a_val = static_cast<const Value*>(job.a_val);
        const auto* const b_val = static_cast<const Value*>(job.b_val);
#if defined(__AVX512F__)
        if constexpr (lanes<Ring> > 0) {
            if (ascends) {
                const Value* const a = a_val + first;
                std::int64_t i = 0;
                for (std::int64_t v = 0, done = 0; done < outputs; ++v, done += lanes<Ring>) {
                    auto sum = zeros(b_val);
                    for (; i < steps_to[v]; ++i) {
                        const Step s = step[i];
                        sum = add_step(sum, s, b_val + begin[s.term] + s.skip, a[s.term]);
                    }
                    store_first(val + done, sum, outputs - done);
                }
                return;
            }
        }
#endif
        for (std::int64_t i = 0; i < outputs; ++i) val[i] = Ring::identity;
        const std::uint16_t* to = place;
        for (std::int64_t term = 0; term < terms; ++term) {
            const Value a = at<Ring>(a_val, first + term);
            for (std::int64_t q = begin[term], end = q + length[term]; q < end; ++q, ++to)
                val[*to] = Ring::sum(val[*to], Ring::product(a, at<Ring>(b_val, q)));
        }
    }

private:
#if defined(__AVX512F__)
    void plan_vectors() {
        std::int64_t reached[repeat_limit], start[repeat_limit], n = 0, steps = 0;
        ascends = true;
        for (std::int64_t t = 0; t < terms; n += length[t++]) {
            reached[t] = start[t] = n;
            for (std::int64_t i = 1; i < length[t]; ++i) ascends &= place[n + i] > place[n + i - 1];
        }
        if (!ascends) return;
        constexpr std::int64_t width = lanes<Ring>;
        for (std::int64_t v = 0; v * width < outputs; ++v) {
            for (std::int64_t t = 0; t < terms; ++t) {
                const std::int64_t begins = reached[t], end = start[t] + length[t];
                unsigned mask = 0;
                for (; reached[t] < end && place[reached[t]] < (v + 1) * width; ++reached[t])
                    mask |= 1u << (place[reached[t]] - v * width);
                if (!mask) continue;
                const unsigned load = (1u << (reached[t] - begins)) - 1;
                step[steps++] = {static_cast<std::uint16_t>(t), static_cast<std::uint16_t>(begins - start[t]),
                                 static_cast<std::uint16_t>(load), static_cast<std::uint16_t>(mask)};
            }
            steps_to[v] = steps;
        }
    }
#endif
};

} // namespace GOSSAMER_ISA
} // namespace gossamer::spgemm
