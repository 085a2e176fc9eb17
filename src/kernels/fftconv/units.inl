// What a call works on, one after the other: one row of each channel of a group, or a pair of them as one complex row.
#include "rows.inl"

namespace gossamer::fftconv {
inline namespace GOSSAMER_ISA {

template <class Real>
struct Floats { // memory of one thread, handed out piece by piece
    Real* next;
    explicit Floats(std::byte* part) : next(reinterpret_cast<Real*>(part)) {}
    Real* take(std::int64_t size) {
        Real* taken = next;
        next += round_up(size, 64 / static_cast<std::int64_t>(sizeof(Real)));
        return taken;
    }
};

template <class Real>
std::int64_t bytes(std::int64_t reals) { return (reals + 1024) * static_cast<std::int64_t>(sizeof(Real)); }

template <class Real>
std::int64_t work_of(const View<Real>& plan, std::int64_t transforms) { // about, in scalar operations
    return transforms * plan.points * 40;
}

struct Unit {
    std::int64_t first, second; // rows of the batch; second is -1 where there is none
    std::int64_t window = 0;
};

template <class Real>
struct Groups { // how a call is cut
    std::int64_t group, groups, windows, units, chunks;
    bool paired;

    Groups(const View<Real>& plan, Shape shape) {
        group = plan.columns ? 1 : lanes<Real>;
        groups = ceil_div(shape.channels, group);
        paired = !plan.twisted;
        windows = shape.step ? ceil_div(shape.length, shape.step) : 1;
        units = paired ? ceil_div(shape.batch, 2) : shape.batch * windows;
        constexpr std::int64_t enough = 16; // tasks for any number of threads: the cut depends on the problem alone
        chunks = most<std::int64_t>(1, groups >= enough ? 1 : least(units, ceil_div(enough, groups)));
    }
    Unit unit(std::int64_t number, std::int64_t batch) const {
        if (!paired) return {number / windows, -1, number % windows};
        return {2 * number, 2 * number + 1 < batch ? 2 * number + 1 : -1};
    }
    std::int64_t first_unit(std::int64_t chunk) const { return units * chunk / chunks; }
};

// Which part of a row a unit takes: place n of what is transformed is point start + n of it, for n from `first` to `last`.
struct Span {
    std::int64_t start, first, last;
    std::int64_t row; // points from one row to the next
};

template <class Real>
std::int64_t room(const View<Real>& plan) { return plan.twisted ? 2 * plan.points : plan.points; }

// What is read forward: outputs of a window begin at its place taps - 1.
template <class Real>
Span read_span(const View<Real>& plan, Shape shape, Unit unit) {
    const std::int64_t row = shape.history + shape.length;
    if (!shape.step) return {0, 0, least(row, room(plan)), row};
    const std::int64_t start = unit.window * shape.step - (shape.taps - 1) + shape.history;
    return {start, most<std::int64_t>(0, -start), least(room(plan), row - start), row};
}
template <class Real>
Span written_span(const View<Real>& plan, Shape shape, Unit unit) {
    if (!shape.step) return {0, 0, least(shape.length, room(plan)), shape.length};
    const std::int64_t overlap = shape.taps - 1, start = unit.window * shape.step - overlap;
    return {start, overlap, least(overlap + shape.step, shape.length - start), shape.length};
}
// Backward, of gradients of outputs (`wide`), or of inputs: a window is that of `step` inputs.
template <class Real>
Span backward_span(const View<Real>& plan, Shape shape, Unit unit, bool wide) {
    if (!shape.step) return written_span(plan, shape, unit);
    const std::int64_t start = unit.window * shape.step;
    return {start, 0, least(wide ? room(plan) : shape.step, shape.length - start), shape.length};
}

// The part of a span in half a row of `points` from place `base` on, and where it begins in memory.
struct Half {
    std::int64_t at, first, length;
    Half(Span span, std::int64_t row, std::int64_t base, std::int64_t points) {
        const std::int64_t low = most(span.first, base), high = most(low, least(span.last, base + points));
        at = row * span.row + span.start + low;
        first = low - base;
        length = high > low ? high - base : 0;
    }
};

// The halves of a unit: of one row, or each a row of its own. body(which half, Half)
template <class Real, class Body>
void halves(const View<Real>& plan, Shape shape, std::int64_t channel, Unit unit, Span span, const Body& body) {
    const std::int64_t m = plan.points, row = unit.first * shape.channels + channel;
    body(0, Half(span, row, 0, m));
    if (plan.twisted)
        body(1, Half(span, row, m, m));
    else if (unit.second >= 0)
        body(1, Half(span, unit.second * shape.channels + channel, 0, m));
}

// What a unit reads from x, times gate.
template <class Real, class Held>
void sources(const View<Real>& plan, Shape shape, const Held* x, const Held* gate, std::int64_t channel, Unit unit,
             Span span, Source<Held>* out) {
    out[1] = {nullptr, nullptr, 0};
    halves(plan, shape, channel, unit, span, [&](int half, Half part) {
        if (part.length) out[half] = {x + part.at, gate ? gate + part.at : nullptr, part.length, part.first};
        else out[half] = {nullptr, nullptr, 0};
    });
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
void sinks(const View<Real>& plan, Shape shape, const Output<Real, Held>& to, std::int64_t channel, Unit unit, Span span,
           Sink<Real, Held>* out) {
    out[1] = {};
    halves(plan, shape, channel, unit, span, [&](int half, Half part) {
        const auto from = [&](auto* p) { return p ? p + part.at : nullptr; };
        if (part.length)
            out[half] = {to.y + part.at, from(to.gate),       from(to.add), to.factor,
                         from(to.other), from(to.other_gate), part.length,  part.first};
        else
            out[half] = {};
    });
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
    for (std::int64_t n = row.first; n < row.length; ++n) {
        const Real x = value<Real>(row, n);
        sum += x - x;
    }
    return sum == 0;
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::fftconv
