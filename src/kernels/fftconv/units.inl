// What a call works on, one after the other: one row of each channel of a group, or a pair of them as one complex row.
#include "rows.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

struct Unit {
    std::int64_t first, second; // rows of the batch; second is -1 where there is none
};

template <class Real>
struct Groups { // how a call is cut
    std::int64_t group, groups, units, chunks;
    bool paired;

    Groups(const View<Real>& plan, Shape shape) {
        group = plan.columns ? 1 : lanes<Real>;
        groups = ceil_div(shape.channels, group);
        paired = !plan.twisted;
        units = paired ? ceil_div(shape.batch, 2) : shape.batch;
        constexpr std::int64_t enough = 16; // tasks for any number of threads: the cut depends on the problem alone
        chunks = most<std::int64_t>(1, groups >= enough ? 1 : least(units, ceil_div(enough, groups)));
    }
    Unit unit(std::int64_t number, std::int64_t batch) const {
        if (!paired) return {number, -1};
        return {2 * number, 2 * number + 1 < batch ? 2 * number + 1 : -1};
    }
    std::int64_t first_unit(std::int64_t chunk) const { return units * chunk / chunks; }
};

// The two halves of what a unit reads from x, times gate.
template <class Real, class Held>
void sources(const View<Real>& plan, Shape shape, const Held* x, const Held* gate, std::int64_t channel, Unit unit,
             Source<Held>* out) {
    const auto row = [&](std::int64_t b) {
        const std::int64_t at = (b * shape.channels + channel) * shape.length;
        return Source<Held>{x + at, gate ? gate + at : nullptr, shape.length};
    };
    out[0] = row(unit.first);
    if (plan.twisted) {
        const std::int64_t m = plan.points;
        out[1] = {out[0].x + m, out[0].gate ? out[0].gate + m : nullptr, most<std::int64_t>(0, shape.length - m)};
    } else {
        out[1] = unit.second < 0 ? Source<Held>{nullptr, nullptr, 0} : row(unit.second);
    }
    for (int half = 0; half < 2; ++half) out[half].length = least(out[half].length, plan.points);
}

template <class Real, class Held>
struct Output { // of arrays (batch, channels, length)
    Held* y;
    const Held *gate, *add;
    Real factor;
    Held* other;
    const Held* other_gate;
};

template <class Real, class Held>
void sinks(const View<Real>& plan, Shape shape, const Output<Real, Held>& to, std::int64_t channel, Unit unit,
           Sink<Real, Held>* out) {
    const auto row = [&](std::int64_t b) {
        const std::int64_t at = (b * shape.channels + channel) * shape.length;
        const auto part = [at](auto* p) { return p ? p + at : nullptr; };
        return Sink<Real, Held>{to.y + at,      part(to.gate),       part(to.add), to.factor,
                                part(to.other), part(to.other_gate), shape.length};
    };
    out[0] = row(unit.first);
    if (plan.twisted) {
        const std::int64_t m = plan.points;
        const auto later = [m](auto* p) { return p ? p + m : nullptr; };
        const Sink<Real, Held>& s = out[0];
        out[1] = {s.y + m, later(s.gate), later(s.add), s.factor, later(s.other), later(s.other_gate),
                  most<std::int64_t>(0, s.length - m)};
    } else {
        out[1] = unit.second < 0 ? Sink<Real, Held>{} : row(unit.second);
    }
    for (int half = 0; half < 2; ++half) out[half].length = least(out[half].length, plan.points);
}

// The halves of a row of taps; those beyond what fits are not looked at.
template <class Real, class Held>
void taps_source(const View<Real>& plan, Shape shape, const Held* k, std::int64_t channel,
                 Source<Held>* out) {
    const std::int64_t m = plan.points, size = least(shape.taps, plan.twisted ? 2 * m : m);
    const Held* x = k + channel * shape.taps;
    out[0] = {x, nullptr, least(size, m)};
    out[1] = {x + m, nullptr, most<std::int64_t>(0, size - m)};
}

template <class Real, class Held>
bool finite(const Source<Held>& row) {
    Real sum = 0;
    for (std::int64_t n = 0; n < row.length; ++n) {
        const Real x = value<Real>(row, n);
        sum += x - x;
    }
    return sum == 0;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
