// Butterflies on values that are already in registers.
#include "../dispatch/simd.hpp"

#include <type_traits>
#include <utility>

namespace gossamer::walsh {
inline namespace GOSSAMER_ISA {

inline constexpr int log2_floor(int value) { return value < 2 ? 0 : 1 + log2_floor(value / 2); }

// A tile of 16 vectors needs as many registers and a spare one; AVX-512 and NEON have them.
inline constexpr int tile_radix = vector_registers == 32 ? 4 : 3;

template <class T>
struct Lanes : simd<T> {
    using type = typename simd<T>::type;
    static constexpr int levels = log2_floor(simd<T>::width);
};

// (a, b) -> (a + b, a - b) over all pairs of v whose numbers differ in the bits below `Levels`
template <int Levels, int Level = 0, class V, int Count>
GOSSAMER_INLINE void across(V (&v)[Count]) {
    if constexpr (Level < Levels) {
#pragma GCC unroll 16
        for (int pair = 0; pair < Count / 2; ++pair) {
            constexpr int half = 1 << Level;
            const int i = (pair & ~(half - 1)) * 2 + (pair & (half - 1));
            const V a = v[i], b = v[i + half];
            v[i] = a + b;
            v[i + half] = a - b;
        }
        across<Levels, Level + 1>(v);
    }
}

template <int Bit, class V, int... Lane>
GOSSAMER_INLINE V swap_lanes(V v, std::integer_sequence<int, Lane...>) {
    return __builtin_shufflevector(v, v, (Lane ^ Bit)...);
}

// The same within one vector: lane i becomes lane[i ^ bit] + lane[i], or - lane[i] where i has the bit.
template <class T, int Level, int... Lane>
GOSSAMER_INLINE typename simd<T>::type lanes_step(typename simd<T>::type v, std::integer_sequence<int, Lane...> all) {
    using V = typename simd<T>::type;
    constexpr int bit = 1 << Level;
    const V swapped = swap_lanes<bit>(v, all);
    if constexpr (std::is_floating_point_v<T>) {
        const V sign = {static_cast<T>((Lane & bit) ? -1 : 1)...};
        return swapped + v * sign; // the product is exact: fused or not, the same bits
    } else {
        const V mask = {((Lane & bit) ? ~T{0} : T{0})...};
        return swapped + ((v ^ mask) - mask);
    }
}

template <class T, int From, int To>
GOSSAMER_INLINE typename simd<T>::type within(typename simd<T>::type v) {
    if constexpr (From < To) {
        return within<T, From + 1, To>(
            lanes_step<T, From>(v, std::make_integer_sequence<int, simd<T>::width>{}));
    } else {
        return v;
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::walsh
