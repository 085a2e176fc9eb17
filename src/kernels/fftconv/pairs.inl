// Products of matrices with complex columns in bfloat16, a number's two parts in one word: 32-bit products and sums.
#include "../dispatch/simd.hpp"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

typedef std::uint32_t Words __attribute__((vector_size(vector_bytes)));

// a word's low half is the first of a pair
GOSSAMER_INLINE Words rounded_pairs(simd<float>::type first, simd<float>::type second) { // to even
    const auto halves = [](simd<float>::type x) {
        const Words bits = (Words)x;
        return x == x ? (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16 : Words{} + 0x7fc0u;
    };
    return halves(first) | halves(second) << 16;
}

GOSSAMER_INLINE simd<float>::type add_pair_products(simd<float>::type sum, Words x, std::uint32_t w) {
#if defined(__AVX512BF16__)
    return (simd<float>::type)_mm512_dpbf16_ps((__m512)sum, (__m512bh)x, (__m512bh)(Words{} + w));
#else
    const Words pair = Words{} + w;
    using V = simd<float>::type;
    sum += (V)(x & 0xffff0000u) * (V)(pair & 0xffff0000u);
    return sum + (V)(x << 16) * (V)(pair << 16);
#endif
}

template <int Rows>
GOSSAMER_INLINE void pair_tile(const std::uint32_t* matrix, std::int64_t side, const std::uint32_t* x, std::int64_t n,
                               float* out) {
    using V = simd<float>;
    typename V::type sums[Rows] = {};
    for (std::int64_t j = 0; j < side; ++j) {
        Words row;
        std::memcpy(&row, x + j * n, sizeof row);
        for (int r = 0; r < Rows; ++r) sums[r] = add_pair_products(sums[r], row, matrix[r * side + j]);
    }
    for (int r = 0; r < Rows; ++r) V::store(out + r * n, sums[r]);
}

// out (side, n) = one part of matrix (side, side) times x (side, n); n is a multiple of the lanes
inline void pair_product(const std::uint32_t* matrix, std::int64_t side, const std::uint32_t* x, std::int64_t n, float* out) {
    constexpr int rows = vector_registers / 4;
    for (std::int64_t column = 0; column < n; column += simd<float>::width) {
        std::int64_t r = 0;
        for (; r + rows <= side; r += rows) pair_tile<rows>(matrix + r * side, side, x + column, n, out + r * n + column);
        for (; r < side; ++r) pair_tile<1>(matrix + r * side, side, x + column, n, out + r * n + column);
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
