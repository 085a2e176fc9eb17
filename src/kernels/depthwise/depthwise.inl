// The one template of the family; each <isa>.cpp includes it and exports its table.
#include "../dispatch/dense.hpp"
#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "depthwise.hpp"

namespace gossamer::depthwise {
inline namespace GOSSAMER_ISA {

inline float widen(bfloat16 x) {
    const std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline void narrow(float x, float& to) { to = x; }
inline void narrow(double x, double& to) { to = x; }
inline void narrow(float x, bfloat16& to) { // to even
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    to = static_cast<bfloat16>(x != x ? 0x7fc0u : (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline constexpr int at_once = 4; // vectors that share a broadcast tap

// A padded row: `left` zeros, the row, zeros up to what the last vectors read.
template <class Real>
std::int64_t padded_size(Shape shape) {
    constexpr std::int64_t step = at_once * simd<Real>::width;
    return most(shape.left + shape.length, round_up(shape.outputs, step) + shape.taps) + step;
}

template <class Real, class Held>
void pad(Shape shape, const Held* x, Real* row) {
    for (std::int64_t i = 0; i < shape.left; ++i) row[i] = 0;
    for (std::int64_t i = 0; i < shape.length; ++i) row[shape.left + i] = widen(x[i]);
    for (std::int64_t i = shape.left + shape.length; i < padded_size<Real>(shape); ++i) row[i] = 0;
}

template <class Real, class Held>
void convolve_row(Shape shape, const Real* row, const Real* taps, Real bias, Held* y) {
    using V = simd<Real>;
    constexpr std::int64_t step = at_once * V::width;
    for (std::int64_t t = 0; t < shape.outputs; t += step) {
        typename V::type sums[at_once];
        for (int i = 0; i < at_once; ++i) sums[i] = V::splat(bias);
        for (std::int64_t j = 0; j < shape.taps; ++j) {
            const auto tap = V::splat(taps[j]);
            for (int i = 0; i < at_once; ++i) sums[i] += tap * V::load(row + t + j + i * V::width);
        }
        Real values[step];
        for (int i = 0; i < at_once; ++i) V::store(values + i * V::width, sums[i]);
        const std::int64_t count = least(step, shape.outputs - t);
        for (std::int64_t i = 0; i < count; ++i) narrow(values[i], y[t + i]);
    }
}

// Some columns of one sequence, tokens as rows: channels [from, to).
template <class Real, class Held>
void convolve_tokens(Shape shape, const Held* x, const Real* taps, const Real* bias, Held* y, std::int64_t t, Real* sums) {
    const std::int64_t channels = shape.channels;
    for (std::int64_t c = 0; c < channels; ++c) sums[c] = bias ? bias[c] : Real(0);
    for (std::int64_t j = 0; j < shape.taps; ++j) {
        const std::int64_t at = t + j - shape.left;
        if (at < 0 || at >= shape.length) continue;
        const Held* from = x + at * channels;
        const Real* tap = taps + j * channels; // transposed: (taps, channels)
        for (std::int64_t c = 0; c < channels; ++c) sums[c] += tap[c] * widen(from[c]);
    }
    for (std::int64_t c = 0; c < channels; ++c) narrow(sums[c], y[t * channels + c]);
}

template <class Real, class Held>
void convolve(Shape shape, const Held* x, const Real* taps, const Real* bias, Held* y, int threads) {
    const std::int64_t channels = shape.channels;
    threads = worthwhile_threads(shape.batch * channels * shape.outputs * (shape.taps + 4) / 4, threads);
    if (!shape.by_token) {
        Scratch rows(padded_size<Real>(shape) * static_cast<std::int64_t>(sizeof(Real)), threads);
        parallel_chunks_by_thread(shape.batch * channels, threads, [&](std::int64_t i, int thread) {
            Real* row = reinterpret_cast<Real*>(rows.part(thread));
            pad(shape, x + i * shape.length, row);
            const std::int64_t c = i % channels;
            convolve_row(shape, row, taps + c * shape.taps, bias ? bias[c] : Real(0), y + i * shape.outputs);
        });
        return;
    }
    constexpr std::int64_t tokens = 64; // of a chunk
    const std::int64_t pieces = ceil_div(shape.outputs, tokens);
    Scratch rows(channels * static_cast<std::int64_t>(sizeof(Real)), threads);
    Scratch turned(channels * shape.taps * static_cast<std::int64_t>(sizeof(Real)), 1);
    Real* columns = reinterpret_cast<Real*>(turned.part(0));
    for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t j = 0; j < shape.taps; ++j) columns[j * channels + c] = taps[c * shape.taps + j];
    parallel_chunks_by_thread(shape.batch * pieces, threads, [&](std::int64_t i, int thread) {
        const std::int64_t b = i / pieces, first = i % pieces * tokens;
        for (std::int64_t t = first; t < least(first + tokens, shape.outputs); ++t)
            convolve_tokens(shape, x + b * shape.length * channels, columns, bias, y + b * shape.outputs * channels, t,
                            reinterpret_cast<Real*>(rows.part(thread)));
    });
}

template <class Real, class Held>
void correlate(Shape shape, const Held* x, const Held* dy, Real* dtaps, Real* dbias, int threads) {
    const std::int64_t channels = shape.channels, stride = shape.by_token ? channels : 1;
    threads = worthwhile_threads(shape.batch * channels * shape.outputs * (shape.taps + 4) / 4, threads);
    const std::int64_t size = round_up(padded_size<Real>(shape), 16), outs = round_up(shape.outputs, 16);
    Scratch rows((size + outs) * static_cast<std::int64_t>(sizeof(Real)), threads);
    parallel_chunks_by_thread(channels, threads, [&](std::int64_t c, int thread) {
        Real* row = reinterpret_cast<Real*>(rows.part(thread));
        Real* grad = row + size;
        Real* sums = dtaps + c * shape.taps;
        for (std::int64_t j = 0; j < shape.taps; ++j) sums[j] = 0;
        Real total = 0;
        for (std::int64_t i = 0; i < size; ++i) row[i] = 0;
        for (std::int64_t b = 0; b < shape.batch; ++b) {
            const std::int64_t in = shape.by_token ? b * shape.length * channels + c : (b * channels + c) * shape.length;
            const std::int64_t out = shape.by_token ? b * shape.outputs * channels + c : (b * channels + c) * shape.outputs;
            for (std::int64_t t = 0; t < shape.length; ++t) row[shape.left + t] = widen(x[in + t * stride]);
            for (std::int64_t t = 0; t < shape.outputs; ++t) grad[t] = widen(dy[out + t * stride]);
            for (std::int64_t j = 0; j < shape.taps; ++j) sums[j] += dot(grad, row + j, shape.outputs);
            for (std::int64_t t = 0; t < shape.outputs; ++t) total += grad[t];
        }
        if (dbias) dbias[c] = total;
    });
}

inline constexpr Table kernels{{convolve<float, float>, correlate<float, float>},
                               {convolve<double, double>, correlate<double, double>},
                               {convolve<float, bfloat16>, correlate<float, bfloat16>}};

} // namespace GOSSAMER_ISA
} // namespace gossamer::depthwise
