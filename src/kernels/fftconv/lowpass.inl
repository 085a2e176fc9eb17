// Convolutions of what is left of rows on a coarser grid: sampled, convolved and brought back row by row, in the cache.
#include "resample.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

template <int Factor, class Real>
struct Coarse { // rows of one task on the plan's ring
    const View<Real>& plan;
    const LowPass<Real>& call;
    Real *work, *own, *spectrum; // of resampling, a row of the ring, and of transforms

    Grids grids(std::int64_t length) const { return {1, length, 2 * plan.points, Factor, call.reach}; }

    void down(const Real* x, std::int64_t length, Real* row, Source<Real>* halves) const {
        decimate_row<Factor>(grids(length), x, call.window, own, row);
        for (int half = 0; half < 2; ++half) halves[half] = {row + half * plan.points, nullptr, plan.points};
    }
    void sinks(Real* row, Sink<Real, Real>* halves) const {
        for (int half = 0; half < 2; ++half)
            halves[half] = {row + half * plan.points, nullptr, nullptr, Real(0), nullptr, nullptr, plan.points};
    }
    void up(const Real* row, std::int64_t length, Real* y) const {
        interpolate_row<Factor>(grids(length), row, call.window, own, y);
    }
    void filter(std::int64_t channel, Real* row) const {
        Source<Real> halves[2];
        down(call.k + channel * call.shape.taps, call.shape.taps, row, halves);
        kernel_spectrum(plan, halves, nullptr, call.weights, work, spectrum);
    }
};

template <class Real>
std::int64_t lowpass_scratch(const View<Real>& plan, const LowPass<Real>& call) { // of resampling
    const Grids longest{1, most(call.shape.length, call.shape.taps), 2 * plan.points, call.factor, call.reach};
    return (call.factor + 1) * phase_stride<Real>(longest);
}

template <int Factor, class Real>
void lowpass_forward(const View<Real>& plan, const LowPass<Real>& call, int threads) {
    const Shape shape = call.shape;
    const Groups<Real> cut(plan, shape);
    const std::int64_t size = spectrum_size(plan), ring = 2 * plan.points;
    Scratch scratch(bytes<Real>(work_size(plan) + size + ring + lowpass_scratch(plan, call)), threads);
    parallel_chunks_by_thread(cut.groups * cut.chunks, threads, [&](std::int64_t task, int thread) {
        const FlushDenormals flush;
        const std::int64_t channel = task / cut.chunks, chunk = task % cut.chunks;
        Floats<Real> memory(scratch.part(thread));
        Real *work = memory.take(work_size(plan)), *spectrum = memory.take(size), *row = memory.take(ring);
        const Coarse<Factor, Real> coarse{plan, call, work, memory.take(lowpass_scratch(plan, call)), spectrum};
        coarse.filter(channel, row);
        for (std::int64_t b = cut.first_unit(chunk); b < cut.first_unit(chunk + 1); ++b) {
            const std::int64_t at = (b * shape.channels + channel) * shape.length;
            Source<Real> from[2];
            Sink<Real, Real> to[2];
            coarse.down(call.u + at, shape.length, row, from);
            coarse.sinks(row, to);
            convolve_rows(plan, from, spectrum, nullptr, work, to);
            coarse.up(row, shape.length, call.y + at);
        }
    });
}

template <int Factor, class Real>
void lowpass_backward(const View<Real>& plan, const LowPass<Real>& call, int threads) {
    const Shape shape = call.shape;
    const std::int64_t size = spectrum_size(plan), ring = 2 * plan.points, working = work_size(plan);
    Scratch scratch(bytes<Real>(2 * (working + size + ring) + lowpass_scratch(plan, call)), threads);
    parallel_chunks_by_thread(shape.channels, threads, [&](std::int64_t channel, int thread) {
        const FlushDenormals flush;
        Floats<Real> memory(scratch.part(thread));
        Real *a = memory.take(working), *b = memory.take(working), *spectrum = memory.take(size), *total = memory.take(size);
        Real *row = memory.take(ring), *other = memory.take(ring);
        const Coarse<Factor, Real> coarse{plan, call, a, memory.take(lowpass_scratch(plan, call)), spectrum};
        coarse.filter(channel, row);
        std::memset(total, 0, sizeof(Real) * static_cast<std::size_t>(size));
        Source<Real> grad[2], x[2];
        Sink<Real, Real> to[2];
        for (std::int64_t n = 0; n < shape.batch; ++n) {
            const std::int64_t at = (n * shape.channels + channel) * shape.length;
            coarse.down(call.dy + at, shape.length, row, grad);
            if (call.dk) coarse.down(call.u + at, shape.length, other, x);
            coarse.sinks(row, to);
            differentiate_rows(plan, grad, x, spectrum, nullptr, {call.du != nullptr, false, call.dk ? total : nullptr}, a, b, to, to);
            if (call.du) coarse.up(row, shape.length, call.du + at);
        }
        if (!call.dk) return;
        weigh(call.weights, total, size);
        coarse.sinks(row, to);
        rows_of(plan, total, nullptr, Real(1) / static_cast<Real>(plan.points), a, to);
        coarse.up(row, shape.taps, call.dk + channel * shape.taps);
    });
}

template <class Real, bool Back>
void lowpass(const View<Real>& plan, const LowPass<Real>& call, int threads) {
    threads = worthwhile_threads(work_of(plan, (call.shape.batch + 1) * call.shape.channels), threads);
    const auto run = [&]<int Factor>() {
        if constexpr (Back) lowpass_backward<Factor>(plan, call, threads);
        else lowpass_forward<Factor>(plan, call, threads);
    };
    if (call.factor == 2) run.template operator()<2>();
    else if (call.factor == 4) run.template operator()<4>();
    else if (call.factor == 8) run.template operator()<8>();
    else run.template operator()<16>();
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
