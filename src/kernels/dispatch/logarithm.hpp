// log of a vector of positive normal doubles, to the rounding of the type: x = 2^e m with m near 1, and the series of
// log m = 2 artanh((m - 1) / (m + 1)).
#pragma once

#include "simd.hpp"

namespace gossamer::inline GOSSAMER_ISA {

GOSSAMER_INLINE simd<double>::type logarithm(simd<double>::type x) {
    using V = simd<double>;
    typedef std::int64_t bits __attribute__((vector_size(vector_bytes)));
    constexpr std::int64_t root_half = 0x3fe6a09e667f3bcd, magic = 0x4338000000000000; // sqrt(1/2); 1.5 * 2^52
    bits word;
    std::memcpy(&word, &x, sizeof word);
    // the exponent counts from sqrt(1/2), so that m lies in [sqrt(1/2), sqrt(2))
    const bits exponent = (word - root_half) >> 52;
    word -= exponent << 52;
    bits shifted = exponent + magic;
    V::type m, e;
    std::memcpy(&m, &word, sizeof m);
    std::memcpy(&e, &shifted, sizeof e);
    e -= V::splat(6755399441055744.0);
    const auto s = (m - V::splat(1.0)) / (m + V::splat(1.0)), z = s * s;
    auto series = V::splat(2.0 / 21);
    for (int k = 19; k >= 3; k -= 2) series = series * z + V::splat(2.0 / k);
    const auto small = s * (series * z) + V::splat(1.42860682030941723212e-6) * e;
    return V::splat(6.93145751953125e-1) * e + (V::splat(2.0) * s + small);
}

} // namespace gossamer::inline GOSSAMER_ISA
