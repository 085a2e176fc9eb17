// log of a vector of positive normal numbers, to the rounding of the type: x = 2^e m with m near 1, and the series of
// log m = 2 artanh((m - 1) / (m + 1)).
#pragma once

#include "simd.hpp"

namespace gossamer::inline GOSSAMER_ISA {

template <class Real>
struct LogOf;

template <>
struct LogOf<float> {
    using Bits = std::int32_t;
    static constexpr int mantissa = 23, terms = 9;
    static constexpr Bits root_half = 0x3f3504f3, shift = 0x4b400000; // sqrt(1/2); 1.5 * 2^23
    static constexpr float magic = 12582912.0f, ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
};

template <>
struct LogOf<double> {
    using Bits = std::int64_t;
    static constexpr int mantissa = 52, terms = 21;
    static constexpr Bits root_half = 0x3fe6a09e667f3bcd, shift = 0x4338000000000000; // sqrt(1/2); 1.5 * 2^52
    static constexpr double magic = 6755399441055744.0, ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
};

template <class Real>
GOSSAMER_INLINE typename simd<Real>::type logarithm_of(typename simd<Real>::type x) {
    using L = LogOf<Real>;
    using V = simd<Real>;
    typedef typename L::Bits bits __attribute__((vector_size(vector_bytes)));
    bits word;
    std::memcpy(&word, &x, sizeof word);
    // the exponent counts from sqrt(1/2), so that m lies in [sqrt(1/2), sqrt(2))
    const bits exponent = (word - L::root_half) >> L::mantissa;
    word -= exponent << L::mantissa;
    bits shifted = exponent + L::shift;
    typename V::type m, e;
    std::memcpy(&m, &word, sizeof m);
    std::memcpy(&e, &shifted, sizeof e);
    e -= V::splat(L::magic);
    const auto s = (m - V::splat(Real{1})) / (m + V::splat(Real{1})), z = s * s;
    auto series = V::splat(Real{2} / L::terms);
    for (int k = L::terms - 2; k >= 3; k -= 2) series = series * z + V::splat(Real{2} / static_cast<Real>(k));
    const auto small = s * (series * z) + V::splat(L::ln2_low) * e;
    return V::splat(L::ln2_high) * e + (V::splat(Real{2}) * s + small);
}

GOSSAMER_INLINE simd<double>::type logarithm(simd<double>::type x) { return logarithm_of<double>(x); }
GOSSAMER_INLINE simd<float>::type logarithm(simd<float>::type x) { return logarithm_of<float>(x); }

} // namespace gossamer::inline GOSSAMER_ISA
