// Random numbers as functions of where they are used. Plain loops that the compiler turns into vectors.
#pragma once

#include "../dispatch/simd.hpp"

namespace gossamer::evolve {
inline namespace GOSSAMER_ISA {

struct Key {
    std::uint32_t low, high;
};

// SplitMix64's finaliser of the `index`-th number of a seed
GOSSAMER_INLINE Key key_of(std::uint64_t seed, std::uint64_t index) {
    std::uint64_t h = seed + (index + 1) * 0x9e3779b97f4a7c15ULL;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
    h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
    h ^= h >> 31;
    return {static_cast<std::uint32_t>(h), static_cast<std::uint32_t>(h >> 32)};
}

// A bijection of 32-bit words whose bits depend on all bits (Wellons' "lowbias32")
GOSSAMER_INLINE std::uint32_t hash(std::uint32_t x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

// log u for u in (0, 1], to the rounding of float32
GOSSAMER_INLINE float logarithm(float u) {
    const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, u);
    const std::int32_t exponent = static_cast<std::int32_t>(bits - 0x3f3504f3u) >> 23; // of u over sqrt(1/2)
    const float f = __builtin_bit_cast(float, bits - (static_cast<std::uint32_t>(exponent) << 23));
    const float s = (f - 1.0f) / (f + 1.0f), q = s * s;
    const float series = 2.0f + q * (2.0f / 3 + q * (2.0f / 5 + q * (2.0f / 7 + q * (2.0f / 9))));
    return static_cast<float>(exponent) * 0.69314718f + s * series;
}

// Two standard normal numbers for each of `count` <= 64 columns (Box and Muller), from hashes of the feature and the id.
GOSSAMER_INLINE void normals(Key feature, const std::int64_t* ids, std::int64_t count, float* first, float* second) {
    std::uint32_t a[64], c[64];
    for (std::int64_t b = 0; b < count; ++b) {
        const auto id = static_cast<std::uint64_t>(ids[b]);
        a[b] = static_cast<std::uint32_t>(id);
        c[b] = static_cast<std::uint32_t>(id >> 32);
    }
    for (std::int64_t b = 0; b < count; ++b) {
        const std::uint32_t h = hash(feature.low + a[b]) + feature.high + c[b] * 0x9e3779b9u;
        const std::uint32_t one = hash(h), two = hash(h ^ 0x6a09e667u);
        const float u = (static_cast<float>(static_cast<std::int32_t>(one >> 8)) + 0.5f) * 0x1p-24f;
        const float radius = __builtin_sqrtf(-2.0f * logarithm(u));
        // a quarter turn and an angle of at most an eighth of a turn
        const float turn = static_cast<float>(static_cast<std::int32_t>(two >> 8)) * 0x1p-22f;
        const std::int32_t quarter = static_cast<std::int32_t>(turn + 0.5f);
        const float x = (turn - static_cast<float>(quarter)) * 1.57079633f, q = x * x;
        const float sine = x * (1.0f + q * (-1.0f / 6 + q * (1.0f / 120 + q * (-1.0f / 5040 + q * (1.0f / 362880)))));
        const float cosine = 1.0f + q * (-0.5f + q * (1.0f / 24 + q * (-1.0f / 720 + q * (1.0f / 40320))));
        const float along = quarter & 1 ? sine : cosine, across = quarter & 1 ? cosine : sine;
        first[b] = radius * ((quarter + 1) & 2 ? -along : along);
        second[b] = radius * (quarter & 2 ? -across : across);
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::evolve
