// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/exponential.hpp"
#include "../dispatch/parallel.hpp"
#include "evolve.hpp"
#include "random.inl"

#include <utility>

namespace gossamer::evolve {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t rows_per_chunk = 16;

template <class Real>
void noise(const Real* clean, std::int64_t features, std::int64_t m, const std::int64_t* ids, std::uint64_t seed, Real sd,
           Real* out, int threads) {
    // two features at a time: they share the radius of a point in the plane
    parallel_chunks(ceil_div(features, 2 * rows_per_chunk), worthwhile_threads(30 * features * m, threads), [&](std::int64_t chunk) {
        const std::int64_t last = least(features, (chunk + 1) * 2 * rows_per_chunk);
        for (std::int64_t i = chunk * 2 * rows_per_chunk; i < last; i += 2) {
            const Key feature = key_of(seed, static_cast<std::uint64_t>(i));
            constexpr std::int64_t block = 64;
            float first[block], second[block];
            for (std::int64_t from = 0; from < m; from += block) {
                const std::int64_t count = least(block, m - from);
                normals(feature, ids + from, count, first, second);
                const Real* x = clean + i * m + from;
                Real* y = out + i * m + from;
                for (std::int64_t b = 0; b < count; ++b) y[b] = x[b] + sd * static_cast<Real>(first[b]);
                if (i + 1 == features) continue;
                for (std::int64_t b = 0; b < count; ++b) y[m + b] = x[m + b] + sd * static_cast<Real>(second[b]);
            }
        }
    });
}

template <class Real>
GOSSAMER_INLINE typename simd<Real>::type sigmoid(typename simd<Real>::type x) {
    using V = simd<Real>;
    const auto zero = typename V::type{}, one = V::splat(1);
    const auto small = exponential<Real>(x < zero ? x : -x); // never overflows
    return (x < zero ? small : one) / (one + small);
}

template <Activation Kind, class Real>
GOSSAMER_INLINE typename simd<Real>::type value_of(typename simd<Real>::type x, Real slope) {
    using V = simd<Real>;
    const auto zero = typename V::type{};
    if constexpr (Kind == Activation::sigmoid) return sigmoid<Real>(x);
    else if constexpr (Kind == Activation::tanh) return V::splat(2) * sigmoid<Real>(x + x) - V::splat(1);
    else if constexpr (Kind == Activation::relu) return x > zero ? x : zero;
    else if constexpr (Kind == Activation::leaky_relu) return x > zero ? x : V::splat(slope) * x;
    else return x;
}

template <Activation Kind, class Real>
GOSSAMER_INLINE Real slope_of(Real a, Real slope) {
    if constexpr (Kind == Activation::sigmoid) return a * (1 - a);
    else if constexpr (Kind == Activation::tanh) return 1 - a * a;
    else if constexpr (Kind == Activation::relu) return a > 0 ? Real(1) : Real(0);
    else if constexpr (Kind == Activation::leaky_relu) return a > 0 ? Real(1) : slope;
    else return 1;
}

template <class Real>
void mask_row(Real* row, std::int64_t m, const Drop& drop, std::int64_t unit) {
    const std::uint32_t key = key_of(drop.seed, static_cast<std::uint64_t>(unit)).low;
    const auto below = static_cast<std::uint32_t>(drop.below);
    for (std::int64_t b = 0; b < m; ++b) row[b] = hash(key + static_cast<std::uint32_t>(b)) < below ? Real(0) : row[b];
}

template <Activation Kind, class Real>
void activate_as(Real* z, const Real* bias, std::int64_t units, std::int64_t m, const Nonlinearity& f, int threads) {
    using V = simd<Real>;
    parallel_chunks(ceil_div(units, rows_per_chunk), worthwhile_threads(20 * units * m, threads), [&](std::int64_t chunk) {
        const std::int64_t last = least(units, (chunk + 1) * rows_per_chunk);
        for (std::int64_t j = chunk * rows_per_chunk; j < last; ++j) {
            Real* row = z + j * m;
            const auto shift = V::splat(bias[j]);
            const Real slope = static_cast<Real>(f.slope);
            std::int64_t b = 0;
            for (; b + V::width <= m; b += V::width)
                V::store(row + b, value_of<Kind, Real>(V::load(row + b) + shift, slope));
            if (b < m) {
                typename V::type rest{};
                std::memcpy(&rest, row + b, static_cast<std::size_t>(m - b) * sizeof(Real));
                rest = value_of<Kind, Real>(rest + shift, slope);
                std::memcpy(row + b, &rest, static_cast<std::size_t>(m - b) * sizeof(Real));
            }
            if (f.drop.below) mask_row(row, m, f.drop, j);
        }
    });
}

template <Activation Kind, class Real>
void derive_as(Real* d, const Real* a, std::int64_t units, std::int64_t m, const Nonlinearity& f, int threads) {
    parallel_chunks(ceil_div(units, rows_per_chunk), worthwhile_threads(5 * units * m, threads), [&](std::int64_t chunk) {
        const std::int64_t last = least(units, (chunk + 1) * rows_per_chunk);
        for (std::int64_t j = chunk * rows_per_chunk; j < last; ++j) {
            const Real slope = static_cast<Real>(f.slope);
            for (std::int64_t b = j * m; b < (j + 1) * m; ++b) d[b] *= slope_of<Kind>(a[b], slope);
            if (f.drop.below) mask_row(d + j * m, m, f.drop, j);
        }
    });
}

template <class Real>
void activate(Real* z, const Real* bias, std::int64_t units, std::int64_t m, const Nonlinearity& f, int threads) {
    switch (f.kind) {
    case Activation::linear: return activate_as<Activation::linear>(z, bias, units, m, f, threads);
    case Activation::sigmoid: return activate_as<Activation::sigmoid>(z, bias, units, m, f, threads);
    case Activation::tanh: return activate_as<Activation::tanh>(z, bias, units, m, f, threads);
    case Activation::relu: return activate_as<Activation::relu>(z, bias, units, m, f, threads);
    case Activation::leaky_relu: return activate_as<Activation::leaky_relu>(z, bias, units, m, f, threads);
    }
}

template <class Real>
void derive(Real* d, const Real* a, std::int64_t units, std::int64_t m, const Nonlinearity& f, int threads) {
    switch (f.kind) {
    case Activation::linear: return derive_as<Activation::linear>(d, a, units, m, f, threads);
    case Activation::sigmoid: return derive_as<Activation::sigmoid>(d, a, units, m, f, threads);
    case Activation::tanh: return derive_as<Activation::tanh>(d, a, units, m, f, threads);
    case Activation::relu: return derive_as<Activation::relu>(d, a, units, m, f, threads);
    case Activation::leaky_relu: return derive_as<Activation::leaky_relu>(d, a, units, m, f, threads);
    }
}

// Halves of the blocks of `x`, then of those of `y`: the first halves, or the second ones
template <int Block, int Second, class V, int... Lane>
GOSSAMER_INLINE V halves(V x, V y, std::integer_sequence<int, Lane...>) {
    constexpr int half = Block / 2;
    return __builtin_shufflevector(x, y, (Lane / half * Block + Lane % half + Second * half)...);
}

// Two vectors with sums still to be taken within blocks of lanes become one, with blocks half as long.
template <int Block, class V, int Width>
GOSSAMER_INLINE V fold(V x, V y) {
    constexpr auto lanes = std::make_integer_sequence<int, Width>{};
    return halves<Block, 0>(x, y, lanes) + halves<Block, 1>(x, y, lanes);
}

// sums[q]: of the lanes of v[q]; eight vectors at once take a third of the instructions of one after another
template <class Real>
GOSSAMER_INLINE void lane_sums(typename simd<Real>::type* v, Real* sums) {
    using V = simd<Real>;
    if constexpr (V::width == 16) {
        for (int q = 0; q < 4; ++q) v[q] = fold<16, typename V::type, 16>(v[2 * q], v[2 * q + 1]);
        for (int q = 0; q < 2; ++q) v[q] = fold<8, typename V::type, 16>(v[2 * q], v[2 * q + 1]);
        Real pairs[16];
        V::store(pairs, fold<4, typename V::type, 16>(v[0], v[1]));
        for (int q = 0; q < 8; ++q) sums[q] = pairs[2 * q] + pairs[2 * q + 1];
    } else if constexpr (V::width == 8) {
        for (int q = 0; q < 4; ++q) v[q] = fold<8, typename V::type, 8>(v[2 * q], v[2 * q + 1]);
        for (int q = 0; q < 2; ++q) v[q] = fold<4, typename V::type, 8>(v[2 * q], v[2 * q + 1]);
        V::store(sums, fold<2, typename V::type, 8>(v[0], v[1]));
    } else {
        for (int q = 0; q < 8; ++q) sums[q] = V::sum(v[q]);
    }
}

// sums[q] = u[inputs[q]] . d for Count entries at once: d is read once, the sums are chains of their own. The rows that
// come `ahead` entries later are fetched meanwhile: they lie too far apart for the hardware to foresee.
template <int Count, class Real>
GOSSAMER_INLINE void dots(const Real* u, const std::int32_t* inputs, std::int64_t ahead, const Real* d, std::int64_t m,
                          Real* sums) {
    using V = simd<Real>;
    const Real *rows[Count], *next[Count];
    for (int q = 0; q < Count; ++q) {
        rows[q] = u + static_cast<std::int64_t>(inputs[q]) * m;
        next[q] = u + static_cast<std::int64_t>(inputs[q + ahead]) * m;
    }
    typename V::type part[Count] = {};
    std::int64_t b = 0;
    for (; b + V::width <= m; b += V::width) {
        const auto here = V::load(d + b);
        for (int q = 0; q < Count; ++q) {
            __builtin_prefetch(next[q] + b);
            part[q] += here * V::load(rows[q] + b);
        }
    }
    if constexpr (Count == 8) lane_sums<Real>(part, sums);
    else
        for (int q = 0; q < Count; ++q) sums[q] = V::sum(part[q]);
    for (; b < m; ++b)
        for (int q = 0; q < Count; ++q) sums[q] += d[b] * rows[q][b];
}

template <class Real>
void update(const Layer<Real>& w, const Real* u, const Real* d, std::int64_t m, const Step& step, int threads) {
    const Real rate = static_cast<Real>(step.rate / static_cast<double>(m)), momentum = static_cast<Real>(step.momentum),
               decay = static_cast<Real>(step.decay);
    const std::int64_t stored = w.start[w.outputs], work = 2 * m * (stored + w.outputs);
    parallel_chunks(ceil_div(w.outputs, rows_per_chunk), worthwhile_threads(work, threads), [&](std::int64_t chunk) {
        const std::int64_t last = least(w.outputs, (chunk + 1) * rows_per_chunk);
        const auto move = [&](Real gradient, Real& velocity, Real& value) {
            velocity = momentum * velocity - rate * gradient;
            value += velocity - decay * value;
        };
        for (std::int64_t j = chunk * rows_per_chunk; j < last; ++j) {
            const Real* row = d + j * m;
            std::int64_t e = w.start[j];
            const std::int64_t end = w.start[j + 1];
            for (; e + 8 <= end; e += 8) {
                Real sums[8];
                dots<8>(u, w.input + e, e + 16 <= stored ? 8 : 0, row, m, sums);
                for (int q = 0; q < 8; ++q) move(sums[q], w.velocity[e + q], w.value[e + q]);
            }
            for (; e < end; ++e) {
                Real sum;
                dots<1>(u, w.input + e, 0, row, m, &sum);
                move(sum, w.velocity[e], w.value[e]);
            }
            Real total = 0;
            for (std::int64_t b = 0; b < m; ++b) total += row[b];
            move(total, w.bias_velocity[j], w.bias[j]);
        }
    });
}

template <class Real>
inline constexpr Entry<Real> entry{noise<Real>, activate<Real>, derive<Real>, update<Real>};

inline constexpr Table kernels{entry<float>, entry<double>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::evolve
