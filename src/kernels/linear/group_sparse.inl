// Group-sparse codes: groups of 16 columns of a row, kept ones only, 4 or 8 bits.
//
// Rows of a unit are sorted by their number of groups and taken four at a time (a slab). A step is one group of each
// of the four rows: 16 codes in each 128-bit lane, met by four blocks of activations fetched by column. Scales of
// four steps are prepared together, in one vector of 16. Padding steps have scale 0.
#pragma once

#include "codes.inl"
#include "packed.inl"

namespace gossamer::linear {
inline namespace GOSSAMER_ISA {

struct Slab {
    std::int64_t start; // step where the slab begins
    int steps;
};

struct SparseView {
    const std::uint8_t* codes; // (steps, 8 Bits); 4 bits: rows 0, 1 in the low nibbles of 32 bytes, 2, 3 in the high
    const std::uint16_t* col;  // (steps, 4): first column of the group
    const float16* scale;      // (steps, 4)
    const std::uint8_t* zeros; // (steps, 4)
    const float16* shift;      // (steps, 4)
    int middle;
};

#if defined(__AVX512VNNI__)

// What 16 groups need of their activation blocks, looked up by column. Small widths live in registers.
template <int Registers> // pairs of registers of block scales: 1 for K <= 1024, 2 for K <= 2048, 0 for any
struct Lookup {
    const float *scale, *mean;
    __m512 s[Registers ? 2 * Registers : 1], m[Registers ? 4 * Registers : 1];

    GOSSAMER_INLINE explicit Lookup(const Activation& x) : scale(x.scale), mean(x.mean) {
        for (int i = 0; i < 2 * Registers; ++i) s[i] = some(x.scale + 16 * i, x.blocks - 16 * i);
        for (int i = 0; i < 4 * Registers; ++i) m[i] = some(x.mean + 16 * i, 2 * x.blocks - 16 * i);
    }
    static GOSSAMER_INLINE __m512 some(const float* p, int count) {
        const std::uint32_t mask = count >= 16 ? 0xffffu : count <= 0 ? 0u : (1u << count) - 1;
        return _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), p);
    }
    template <int Pairs>
    static GOSSAMER_INLINE __m512 pick(const __m512* t, __m512i index) {
        const __m512 low = _mm512_permutex2var_ps(t[0], index, t[1]);
        if constexpr (Pairs == 1) {
            return low;
        } else {
            const __m512 high = pick<Pairs / 2>(t + Pairs, index);
            const __m512 base = pick<Pairs / 2>(t, index);
            return _mm512_mask_blend_ps(_mm512_test_epi32_mask(index, _mm512_set1_epi32(16 * Pairs)), base, high);
        }
    }
    GOSSAMER_INLINE __m512 scales(__m512i column) const {
        const __m512i index = _mm512_srli_epi32(column, 5);
        if constexpr (Registers) return pick<Registers>(s, index);
        return _mm512_i32gather_ps(index, scale, 4);
    }
    GOSSAMER_INLINE __m512 means(__m512i column) const {
        const __m512i index = _mm512_srli_epi32(column, 4);
        if constexpr (Registers) return pick<2 * Registers>(m, index);
        return _mm512_i32gather_ps(index, mean, 4);
    }
};

template <int Bits>
GOSSAMER_INLINE __m512i sparse_codes(const std::uint8_t* p) {
    if constexpr (Bits == 8) return _mm512_loadu_si512(p);
    const __m512i twice = _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    const __m512i shift = _mm512_set_epi64(4, 4, 4, 4, 0, 0, 0, 0);
    return _mm512_and_si512(_mm512_srlv_epi64(twice, shift), _mm512_set1_epi8(15));
}

template <int Bits, Zero Z, int Registers>
void sparse_slab(const SparseView& a, const Slab& slab, const Lookup<Registers>& lookup, const std::int8_t* q, float* y) {
    constexpr int step_bytes = 8 * Bits;
    const __m512i spread = _mm512_set_epi32(3, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0);
    __m512 sums = _mm512_setzero_ps(), shifts = _mm512_setzero_ps();
    const auto block = [&](std::int64_t step) { // activations of the step's four columns
        const std::uint16_t* c = a.col + 4 * step;
        const auto at = [&](int i) { return _mm_load_si128(reinterpret_cast<const __m128i*>(q + c[i])); };
        const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(at(0)), at(1), 1);
        const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(at(2)), at(3), 1);
        return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    };
    for (int done = 0; done < slab.steps; done += 4) {
        const std::int64_t step = slab.start + done;
        const int left = slab.steps - done;
        const __mmask16 live = left >= 4 ? 0xffff : static_cast<__mmask16>((1 << (4 * left)) - 1);
        const __m512i column = _mm512_cvtepu16_epi32(
            _mm256_maskz_loadu_epi16(live, a.col + 4 * step));
        const __m512 scale = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(live, a.scale + 4 * step));
        const __m512 product = _mm512_mul_ps(scale, lookup.scales(column));
        if constexpr (Z == Zero::integer) {
            const __m512i zero = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(live, a.zeros + 4 * step));
            shifts = _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_cvtepi32_ps(zero)), lookup.means(column), shifts);
        } else if constexpr (Z == Zero::real) {
            const __m512 shift = _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(live, a.shift + 4 * step));
            shifts = _mm512_fmadd_ps(shift, lookup.means(column), shifts);
        } else {
            shifts = _mm512_fmadd_ps(scale, lookup.means(column), shifts);
        }
        const auto advance = [&](int i) {
            const __m512i codes = sparse_codes<Bits>(a.codes + (step + i) * step_bytes);
            const __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, block(step + i));
            const __m512i lanes = _mm512_add_epi32(spread, _mm512_set1_epi32(4 * i));
            sums = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_permutexvar_ps(lanes, product), sums);
        };
        if (left >= 4) {
            advance(0), advance(1), advance(2), advance(3);
        } else {
            for (int i = 0; i < left; ++i) advance(i);
        }
    }
    // row r: the four lanes of 128-bit part r of sums, and lanes r, r + 4, r + 8, r + 12 of shifts
    __m512 t = _mm512_add_ps(sums, _mm512_permute_ps(sums, 0xb1));
    t = _mm512_add_ps(t, _mm512_permute_ps(t, 0x4e));
    const __m512i corners = _mm512_set_epi32(12, 8, 4, 0, 12, 8, 4, 0, 12, 8, 4, 0, 12, 8, 4, 0);
    const __m128 total = _mm512_castps512_ps128(_mm512_permutexvar_ps(corners, t));
    const __m256 fold = _mm256_add_ps(_mm512_castps512_ps256(shifts), _mm512_extractf32x8_ps(shifts, 1));
    __m128 shift = _mm_add_ps(_mm256_castps256_ps128(fold), _mm256_extractf128_ps(fold, 1));
    if constexpr (Z == Zero::middle) shift = _mm_mul_ps(shift, _mm_set1_ps(static_cast<float>(a.middle)));
    _mm_storeu_ps(y, _mm_sub_ps(total, shift));
}

#else

template <int Registers>
struct Lookup {
    const float *scale, *mean;
    explicit Lookup(const Activation& x) : scale(x.scale), mean(x.mean) {}
};

template <int Bits>
GOSSAMER_INLINE int sparse_dot(const std::uint8_t* step, int row, const std::int8_t* q) {
    int sum = 0;
    if constexpr (Bits == 8) {
        for (int t = 0; t < 16; ++t) sum += step[16 * row + t] * q[t];
    } else { // as sparse_codes lays them out: rows 0 and 1 in the low nibbles, 2 and 3 in the high ones
        const std::uint8_t* bytes = step + row % 2 * 16;
        const int shift = row / 2 * 4;
        for (int t = 0; t < 16; ++t) sum += ((bytes[t] >> shift) & 15) * q[t];
    }
    return sum;
}

template <int Bits, Zero Z, int Registers>
void sparse_slab(const SparseView& a, const Slab& slab, const Lookup<Registers>& lookup, const std::int8_t* q, float* y) {
    for (int row = 0; row < 4; ++row) {
        float sum = 0, shift = 0;
        for (int i = 0; i < slab.steps; ++i) {
            const std::int64_t step = slab.start + i, at = 4 * step + row;
            const float scale = to_float(a.scale[at]), mean = lookup.mean[a.col[at] / 16];
            sum += scale * lookup.scale[a.col[at] / 32] *
                   static_cast<float>(sparse_dot<Bits>(a.codes + step * 8 * Bits, row, q + a.col[at]));
            if constexpr (Z == Zero::middle) shift += scale * static_cast<float>(a.middle) * mean;
            if constexpr (Z == Zero::integer) shift += scale * static_cast<float>(a.zeros[at]) * mean;
            if constexpr (Z == Zero::real) shift += to_float(a.shift[at]) * mean;
        }
        y[row] = sum - shift;
    }
}

#endif

} // namespace GOSSAMER_ISA
} // namespace gossamer::linear
