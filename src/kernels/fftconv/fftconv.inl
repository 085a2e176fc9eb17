// The family's entries; each <isa>.cpp includes this and exports its table.
#include "lowpass.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

template <class Real, class Held>
void spectrum_of_group(const View<Real>& plan, const Held* k, Shape shape, const std::uint8_t* live,
                       const Real* weights, std::int64_t group, Real* work, Real* spectrum) {
    const Groups<Real> cut(plan, shape);
    const std::int64_t first = group * cut.group;
    const int used = static_cast<int>(least(cut.group, shape.channels - first));
    Source<Held> from[2 * lanes<Real>];
    for (int i = 0; i < used; ++i) taps_source(plan, shape, k, first + i, from + 2 * i);
    if (plan.columns)
        kernel_spectrum(plan, from, live, weights, work, spectrum);
    else
        kernel_spectrum(plan, from, used, work, spectrum);
}

template <class Real, class Held>
void spectra(const View<Real>& plan, const Held* k, Shape shape, const std::uint8_t* live, const Real* weights,
             Real* spectrum, int threads) {
    const Groups<Real> cut(plan, shape);
    threads = worthwhile_threads(work_of(plan, shape.channels), threads);
    Scratch scratch(bytes<Real>(work_size(plan)), threads);
    parallel_chunks_by_thread(cut.groups, threads, [&](std::int64_t group, int thread) {
        const FlushDenormals flush;
        Floats<Real> memory(scratch.part(thread));
        Real* work = memory.take(work_size(plan));
        spectrum_of_group(plan, k, shape, live, weights, group, work, spectrum + group * spectrum_size(plan));
    });
}

template <class Real, class Held>
void convolve_unit(const View<Real>& plan, const Forward<Real, Held>& call, std::int64_t first, int used, Unit unit,
                   const Real* spectrum, Real* work) {
    Source<Held> from[2 * lanes<Real>];
    Sink<Real, Held> to[2 * lanes<Real>];
    bool clean = true;
    for (int i = 0; i < used; ++i) {
        sources(plan, call.shape, call.u, call.before, first + i, unit, read_span(plan, call.shape, unit), from + 2 * i);
        clean = clean && (unit.second < 0 || (finite<Real>(from[2 * i]) && finite<Real>(from[2 * i + 1])));
    }
    if (!clean) { // what is not finite stays in its row
        convolve_unit(plan, call, first, used, {unit.first, -1}, spectrum, work);
        return convolve_unit(plan, call, first, used, {unit.second, -1}, spectrum, work);
    }
    for (int i = 0; i < used; ++i) {
        const Real weight = call.skip ? widen(call.skip[first + i]) : Real(0);
        const Output<Real, Held> out{call.y, call.after, call.skip ? call.u : nullptr, weight, nullptr, nullptr};
        sinks(plan, call.shape, out, first + i, unit, written_span(plan, call.shape, unit), to + 2 * i);
    }
    if (plan.columns)
        convolve_rows(plan, from, spectrum, call.live, work, to);
    else
        convolve_rows(plan, from, used, spectrum, work, to);
}

template <class Real, class Held>
void convolve(const View<Real>& plan, const Forward<Real, Held>& call, int threads) {
    const Shape shape = call.shape;
    const Groups<Real> cut(plan, shape);
    const std::int64_t size = spectrum_size(plan);
    threads = worthwhile_threads(work_of(plan, 2 * cut.units * shape.channels), threads);
    const bool shared = !call.spectrum && cut.chunks > 1; // several tasks need the spectrum of one group
    Scratch all(shared ? bytes<Real>(size * cut.groups) : 1, 1);
    const Real* ready = call.spectrum;
    if (shared) {
        Real* made = reinterpret_cast<Real*>(all.part(0));
        spectra(plan, call.k, shape, call.live, static_cast<const Real*>(nullptr), made, threads);
        ready = made;
    }
    Scratch scratch(bytes<Real>(work_size(plan) + size), threads);
    parallel_chunks_by_thread(cut.groups * cut.chunks, threads, [&](std::int64_t task, int thread) {
        const FlushDenormals flush;
        const std::int64_t group = task / cut.chunks, chunk = task % cut.chunks, first = group * cut.group;
        const int used = static_cast<int>(least(cut.group, shape.channels - first));
        Floats<Real> memory(scratch.part(thread));
        Real *work = memory.take(work_size(plan)), *own = memory.take(size);
        const Real* spectrum = ready ? ready + group * size : own;
        if (!ready) spectrum_of_group(plan, call.k, shape, call.live, static_cast<const Real*>(nullptr), group, work, own);
        for (std::int64_t i = cut.first_unit(chunk); i < cut.first_unit(chunk + 1); ++i)
            convolve_unit(plan, call, first, used, cut.unit(i, shape.batch), spectrum, work);
    });
}

template <class Real, class Held>
struct Step { // of a backward task
    const View<Real>& plan;
    const Backward<Real, Held>& call;
    Wanted<Real> wanted;
    const Real* spectrum;
    Real *a, *b;
    double* dskip; // of this task's channels

    void run(std::int64_t first, int used, Unit unit) const {
        const Shape shape = call.shape;
        const Span wide = backward_span(plan, shape, unit, true), own = backward_span(plan, shape, unit, false);
        Source<Held> grad[2 * lanes<Real>], x[2 * lanes<Real>];
        Sink<Real, Held> to_a[2 * lanes<Real>], to_b[2 * lanes<Real>];
        bool clean = true;
        for (int i = 0; i < used; ++i) {
            sources(plan, shape, call.dy, call.after, first + i, unit, wide, grad + 2 * i);
            sources(plan, shape, call.u, call.before, first + i, unit, own, x + 2 * i);
            for (int half = 0; half < 2 && unit.second >= 0; ++half)
                clean = clean && finite<Real>(grad[2 * i + half]) && finite<Real>(x[2 * i + half]);
        }
        if (!clean) {
            run(first, used, {unit.first, -1});
            return run(first, used, {unit.second, -1});
        }
        for (int i = 0; i < used; ++i) {
            const Real weight = call.skip ? widen(call.skip[first + i]) : Real(0);
            if (wanted.input) {
                const bool gated = call.dbefore;
                const Output<Real, Held> out{call.du, call.before, call.skip ? call.dy : nullptr, weight,
                                             gated ? call.dbefore : nullptr, gated ? call.u : nullptr};
                sinks(plan, shape, out, first + i, unit, own, to_a + 2 * i);
            }
            if (wanted.output) {
                const Output<Real, Held> out{call.dafter, call.dy, nullptr, Real(0), nullptr, nullptr};
                sinks(plan, shape, out, first + i, unit, own, to_b + 2 * i);
            }
            if (call.dskip) dskip[i] += inner(first + i, unit.first) + (unit.second < 0 ? 0.0 : inner(first + i, unit.second));
        }
        if (plan.columns)
            differentiate_rows(plan, grad, x, spectrum, call.live, wanted, a, b, to_a, to_b);
        else
            differentiate_rows(plan, grad, x, used, spectrum, wanted, a, b, to_a, to_b);
    }

    double inner(std::int64_t channel, std::int64_t row) const { // of u and dy
        const std::int64_t at = (row * call.shape.channels + channel) * call.shape.length;
        double sum = 0;
        for (std::int64_t n = 0; n < call.shape.length; ++n)
            sum += static_cast<double>(widen(call.u[at + n])) * static_cast<double>(widen(call.dy[at + n]));
        return sum;
    }
};

// One inverse transform a channel: the sum over the batch is taken of spectra.
template <class Real, class Held>
void gradient_of_taps(const View<Real>& plan, const Backward<Real, Held>& call, std::int64_t group, const Real* sum,
                      Real* work) {
    const Groups<Real> cut(plan, call.shape);
    const std::int64_t first = group * cut.group, m = plan.points;
    const int used = static_cast<int>(least(cut.group, call.shape.channels - first));
    const std::int64_t size = least(call.shape.taps, plan.twisted ? 2 * m : m);
    Sink<Real, Real> to[2 * lanes<Real>];
    for (int i = 0; i < used; ++i) {
        Real* row = call.dk + (first + i) * call.shape.taps;
        to[2 * i] = {row, nullptr, nullptr, Real(0), nullptr, nullptr, least(size, m)};
        to[2 * i + 1] = {row + m, nullptr, nullptr, Real(0), nullptr, nullptr, most<std::int64_t>(0, size - m)};
        for (std::int64_t n = size; n < call.shape.taps; ++n) row[n] = 0;
    }
    const Real factor = Real(1) / static_cast<Real>(m);
    if (plan.columns)
        rows_of(plan, sum, call.live, factor, work, to);
    else
        rows_of(plan, sum, used, factor, work, to);
}

template <class Real, class Held>
void differentiate(const View<Real>& plan, const Backward<Real, Held>& call, int threads) {
    const Shape shape = call.shape;
    const Groups<Real> cut(plan, shape);
    const std::int64_t size = spectrum_size(plan), work = work_size(plan);
    threads = worthwhile_threads(work_of(plan, 4 * cut.units * shape.channels), threads);
    const bool partial = cut.chunks > 1; // sums and spectra of groups are shared by tasks
    Scratch shared(partial ? bytes<Real>(size * cut.groups * (cut.chunks + 1)) : 1, 1);
    Real* made = reinterpret_cast<Real*>(shared.part(0));
    Real* sums = made + size * cut.groups;
    if (partial && !call.spectrum) spectra(plan, call.k, shape, call.live, static_cast<const Real*>(nullptr), made, threads);
    const Real* ready = call.spectrum ? call.spectrum : partial ? made : nullptr;
    const std::int64_t tasks = cut.groups * cut.chunks;
    Scratch skips(call.dskip ? 8 * tasks * cut.group : 1, 1);
    double* dskip = reinterpret_cast<double*>(skips.part(0));
    Scratch scratch(bytes<Real>(2 * (work + size)), threads);
    parallel_chunks_by_thread(tasks, threads, [&](std::int64_t task, int thread) {
        const FlushDenormals flush;
        const std::int64_t group = task / cut.chunks, chunk = task % cut.chunks, first = group * cut.group;
        const int used = static_cast<int>(least(cut.group, shape.channels - first));
        Floats<Real> memory(scratch.part(thread));
        Real *a = memory.take(work), *b = memory.take(work), *own = memory.take(size), *total = memory.take(size);
        if (!ready) spectrum_of_group(plan, call.k, shape, call.live, static_cast<const Real*>(nullptr), group, a, own);
        Real* sum = !call.dk ? nullptr : partial ? sums + task * size : total;
        if (sum) std::memset(sum, 0, sizeof(Real) * static_cast<std::size_t>(size));
        if (call.dskip)
            for (std::int64_t i = 0; i < cut.group; ++i) dskip[task * cut.group + i] = 0;
        const Step<Real, Held> step{plan, call, {call.du != nullptr, call.dafter != nullptr, sum},
                                    ready ? ready + group * size : own, a, b, dskip + task * cut.group};
        for (std::int64_t i = cut.first_unit(chunk); i < cut.first_unit(chunk + 1); ++i)
            step.run(first, used, cut.unit(i, shape.batch));
        if (sum && !partial) gradient_of_taps(plan, call, group, sum, a);
    });
    if (partial && call.dk)
        parallel_chunks_by_thread(cut.groups, threads, [&](std::int64_t group, int thread) {
            const FlushDenormals flush;
            Real* sum = sums + group * cut.chunks * size;
            for (std::int64_t chunk = 1; chunk < cut.chunks; ++chunk)
                for (std::int64_t i = 0; i < size; ++i) sum[i] += sum[chunk * size + i];
            gradient_of_taps(plan, call, group, sum, reinterpret_cast<Real*>(scratch.part(thread)));
        });
    if (call.dskip)
        for (std::int64_t channel = 0; channel < shape.channels; ++channel) {
            double sum = 0;
            for (std::int64_t chunk = 0; chunk < cut.chunks; ++chunk)
                sum += dskip[(channel / cut.group * cut.chunks + chunk) * cut.group + channel % cut.group];
            call.dskip[channel] = sum;
        }
}

// Rows of interleaved complex numbers; spectra in the plan's own order.
template <class Real>
void transform(const View<Real>& plan, const Real* from, Real* to, std::int64_t rows, bool inverse, int threads) {
    constexpr int W = lanes<Real>;
    const std::int64_t m = plan.points, group = plan.columns ? 1 : W;
    threads = worthwhile_threads(work_of(plan, rows), threads);
    Scratch scratch(bytes<Real>(work_size(plan) + 2 * m * group), threads);
    parallel_chunks_by_thread(ceil_div(rows, group), threads, [&](std::int64_t chunk, int thread) {
        const FlushDenormals flush;
        Floats<Real> memory(scratch.part(thread));
        Real *work = memory.take(work_size(plan)), *split = memory.take(2 * m * group);
        const int used = static_cast<int>(least(group, rows - chunk * group));
        const Real* x = from + 2 * m * group * chunk;
        Real* y = to + 2 * m * group * chunk;
        if (!plan.columns) {
            std::memset(work, 0, sizeof(Real) * static_cast<std::size_t>(spectrum_size(plan)));
            for (int lane = 0; lane < used; ++lane)
                for (std::int64_t n = 0; n < m; ++n)
                    for (int half = 0; half < 2; ++half) work[(2 * n + half) * W + lane] = x[2 * (lane * m + n) + half];
            inverse ? all_passes<Real, true>(plan, work) : all_passes<Real, false>(plan, work);
            for (int lane = 0; lane < used; ++lane)
                for (std::int64_t n = 0; n < m; ++n)
                    for (int half = 0; half < 2; ++half) y[2 * (lane * m + n) + half] = work[(2 * n + half) * W + lane];
            return;
        }
        // lane a of cell b of a tile is number a W + b of it
        const auto each = [&](std::int64_t tile, const auto& body) {
            for (int b = 0; b < W; ++b)
                for (int a = 0; a < W; ++a) body(2 * (tile * W * W + a * W + b), 2 * W * b + a);
        };
        if (inverse) {
            descend(plan, 1, 0u, 1u, nullptr, work, static_cast<Real*>(nullptr), [&](std::int64_t number, Real* tile, Real*) {
                const Tile<Real> own(plan, number);
                each(number, [&](std::int64_t at, int place) {
                    tile[place] = x[at];
                    tile[place + W] = x[at + 1];
                });
                tile_inverse(tile, own.constants, own.lane_constants);
            });
            Sink<Real, Real> halves[2] = {};
            for (int half = 0; half < 2; ++half) {
                halves[half].y = split + half * m;
                halves[half].length = m;
            }
            leave(plan, work, halves);
            for (std::int64_t n = 0; n < m; ++n)
                for (int half = 0; half < 2; ++half) y[2 * n + half] = split[half * m + n];
            return;
        }
        for (std::int64_t n = 0; n < m; ++n)
            for (int half = 0; half < 2; ++half) split[half * m + n] = x[2 * n + half];
        const Source<Real> halves[2] = {{split, nullptr, m}, {split + m, nullptr, m}};
        enter(plan, halves, work);
        descend(plan, 1, 1u, 0u, nullptr, work, static_cast<Real*>(nullptr), [&](std::int64_t number, Real* tile, Real*) {
            const Tile<Real> own(plan, number);
            tile_forward<Product::none>(tile, own.constants, own.lane_constants, tile);
            each(number, [&](std::int64_t at, int place) {
                y[at] = tile[place];
                y[at + 1] = tile[place + W];
            });
        });
    });
}

inline constexpr Table kernels{vector_bytes,
                               {convolve<float, float>, differentiate<float, float>},
                               {convolve<double, double>, differentiate<double, double>},
                               {convolve<float, bfloat16>, differentiate<float, bfloat16>},
                               spectra<float, float>,
                               spectra<double, double>,
                               transform<float>,
                               transform<double>,
                               pair_product,
                               resample<float, false>,
                               resample<float, true>,
                               resample<double, false>,
                               resample<double, true>,
                               lowpass<float, false>,
                               lowpass<float, true>,
                               lowpass<double, false>,
                               lowpass<double, true>};

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
