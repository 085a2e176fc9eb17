// Between the caller's layout and strips: [feature][strip_width tokens], the form in which stages read and write.
#include "../dispatch/simd.hpp"
#include "monarch.hpp"

#include <type_traits>

namespace gossamer::monarch {
inline namespace GOSSAMER_ISA {

inline constexpr int strip_vectors = 2;

template <class Real>
inline constexpr int strip_width = strip_vectors * simd<Real>::width;

// rows[i][j] <-> rows[j][i] by exchanging off-diagonal halves, quarters, ...
template <class Real, int Step = 1>
GOSSAMER_INLINE void transpose(typename simd<Real>::type* rows) {
    constexpr int width = simd<Real>::width;
    using Index = std::conditional_t<sizeof(Real) == 4, std::int32_t, std::int64_t>;
    using Mask = typename simd<Index>::type;
    if constexpr (Step < width) {
        Mask low{}, high{};
        for (int j = 0; j < width; ++j) {
            low[j] = j & Step ? width + j - Step : j;
            high[j] = j & Step ? width + j : j + Step;
        }
#pragma GCC unroll 16
        for (int i = 0; i < width; ++i)
            if (!(i & Step)) {
                const auto a = rows[i], b = rows[i + Step];
                rows[i] = __builtin_shuffle(a, b, low);
                rows[i + Step] = __builtin_shuffle(a, b, high);
            }
        transpose<Real, 2 * Step>(rows);
    }
}

// One strip of x into out[places][strip_width]: tokens from `first` on, zeros where there are none.
template <class Real>
void gather(const Operand<const Real>& x, const std::int32_t* place, std::int64_t places, std::int64_t first, Real* out) {
    using V = simd<Real>;
    constexpr std::int64_t wide = strip_width<Real>;
    const std::int64_t here = least(wide, x.tokens - first);
    if (places > x.features || here < wide)
        for (std::int64_t i = 0; i < places * wide; ++i) out[i] = 0;
    std::int64_t feature = 0;
    if (x.by_token && here == wide)
        for (; feature + V::width <= x.features; feature += V::width)
            for (int v = 0; v < strip_vectors; ++v) {
                typename V::type rows[V::width];
                for (int i = 0; i < V::width; ++i)
                    rows[i] = V::load(x.data + (first + v * V::width + i) * x.features + feature);
                transpose<Real>(rows);
                for (int i = 0; i < V::width; ++i) V::store(out + place[feature + i] * wide + v * V::width, rows[i]);
            }
    for (; feature < x.features; ++feature) {
        const Real* from = x.data + (x.by_token ? first * x.features + feature : feature * x.tokens + first);
        Real* to = out + place[feature] * wide;
        if (!x.by_token && here == wide) {
            std::memcpy(to, from, wide * sizeof(Real));
            continue;
        }
        const std::int64_t step = x.by_token ? x.features : 1;
        for (std::int64_t i = 0; i < here; ++i) to[i] = from[i * step];
    }
}

// The strip [features][strip_width] out to y, with a number added to each feature unless bias is null.
template <class Real>
void scatter(const Real* strip, const Real* bias, std::int64_t first, const Operand<Real>& y) {
    using V = simd<Real>;
    constexpr std::int64_t wide = strip_width<Real>;
    const std::int64_t here = least(wide, y.tokens - first);
    std::int64_t feature = 0;
    if (y.by_token && here == wide)
        for (; feature + V::width <= y.features; feature += V::width)
            for (int v = 0; v < strip_vectors; ++v) {
                typename V::type rows[V::width];
                for (int i = 0; i < V::width; ++i) rows[i] = V::load(strip + (feature + i) * wide + v * V::width);
                transpose<Real>(rows);
                const auto added = bias ? V::load(bias + feature) : typename V::type{};
                for (int i = 0; i < V::width; ++i) rows[i] += added;
                for (int i = 0; i < V::width; ++i)
                    V::store(y.data + (first + v * V::width + i) * y.features + feature, rows[i]);
            }
    for (; feature < y.features; ++feature) {
        Real* to = y.data + (y.by_token ? first * y.features + feature : feature * y.tokens + first);
        const Real added = bias ? bias[feature] : 0;
        if (!y.by_token && here == wide) {
            for (int i = 0; i < wide; ++i) to[i] = strip[feature * wide + i] + added;
            continue;
        }
        const std::int64_t step = y.by_token ? y.features : 1;
        for (std::int64_t i = 0; i < here; ++i) to[i * step] = strip[feature * wide + i] + added;
    }
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::monarch
