// exp of a vector, to the rounding of the type: 2^n times a Taylor polynomial on |r| <= log(2) / 2. Arguments stay below
// 700 in double, 88 in float.
#pragma once

#include "simd.hpp"

namespace gossamer::inline GOSSAMER_ISA {

template <class Real>
struct ExpOf;

template <>
struct ExpOf<float> {
    using Bits = std::int32_t;
    static constexpr int terms = 8, mantissa = 23;
    static constexpr float low = -87.0f, magic = 12582912.0f; // 1.5 * 2^23: adding it rounds to an integer
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
};

template <>
struct ExpOf<double> {
    using Bits = std::int64_t;
    static constexpr int terms = 13, mantissa = 52;
    static constexpr double low = -708.0, magic = 6755399441055744.0; // 1.5 * 2^52
    static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;
};

template <class Real>
struct InverseFactorials {
    Real value[16] = {1, 1};
    constexpr InverseFactorials() {
        double factorial = 1;
        for (int k = 2; k < 16; ++k) value[k] = static_cast<Real>(1 / (factorial *= k));
    }
};

template <class Real>
inline constexpr InverseFactorials<Real> inverse_factorials{};

// 0 below `low`, also for -inf
template <class Real>
GOSSAMER_INLINE typename simd<Real>::type exponential(typename simd<Real>::type x) {
    using E = ExpOf<Real>;
    using V = simd<Real>;
    typedef typename E::Bits bits __attribute__((vector_size(vector_bytes)));
    const auto below = x < V::splat(E::low);
    x = below ? V::splat(E::low) : x;
    const auto shifted = x * V::splat(static_cast<Real>(1.44269504088896340736)) + V::splat(E::magic);
    const auto n = shifted - V::splat(E::magic);
    const auto r = (x - n * V::splat(E::ln2_high)) - n * V::splat(E::ln2_low);
    auto sum = V::splat(inverse_factorials<Real>.value[E::terms - 1]);
    for (int k = E::terms - 2; k >= 0; --k) sum = sum * r + V::splat(inverse_factorials<Real>.value[k]);
    bits power, value;
    std::memcpy(&power, &shifted, sizeof power);
    std::memcpy(&value, &sum, sizeof value);
    value += power << E::mantissa; // the low bits of the shifted number are n
    std::memcpy(&sum, &value, sizeof sum);
    return below ? typename V::type{} : sum;
}

} // namespace gossamer::inline GOSSAMER_ISA
