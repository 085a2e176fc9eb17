// The recurrence in registers: a task is one sequence and a few vectors of states, from the first step to the last. Lanes
// are states, so that no carry has to be exchanged.
#include "../dispatch/parallel.hpp"

#include <utility>

namespace gossamer::ssm {
inline namespace GOSSAMER_ISA {

inline constexpr int wide_task = 4; // vectors of states: their chains of products hide each other's latency
inline constexpr std::int64_t exact = 256; // steps whose products are summed in the type of the data

template <class V, int... Lane>
GOSSAMER_INLINE V swap_parts(V v, std::integer_sequence<int, Lane...>) {
    return __builtin_shufflevector(v, v, (Lane ^ 1)...);
}

// Complex numbers in a vector, and products with a constant: a x = real x + cross swapped(x).
template <class Real>
struct Pairs : simd<Real> {
    using type = typename simd<Real>::type;
    using simd<Real>::width;
    static GOSSAMER_INLINE type swapped(type v) { return swap_parts(v, std::make_integer_sequence<int, width>{}); }
};

template <class Real>
struct Factor {
    using P = Pairs<Real>;
    typename P::type real, cross;
    GOSSAMER_INLINE explicit Factor(const Real* a, bool conjugate) {
        Real parts[2][P::width];
        for (int i = 0; i < P::width; i += 2) {
            const Real im = conjugate ? -a[i + 1] : a[i + 1];
            parts[0][i] = parts[0][i + 1] = a[i];
            parts[1][i] = -im;
            parts[1][i + 1] = im;
        }
        real = P::load(parts[0]);
        cross = P::load(parts[1]);
    }
    Factor() = default;
    GOSSAMER_INLINE typename P::type times(typename P::type x, typename P::type plus) const {
        return (plus + real * x) + cross * P::swapped(x);
    }
};

template <class Real>
struct Place { // of the first number of a task in arrays (batch, length, states) and (batch, states)
    std::int64_t at, step, state;
    Place(const Steps<Real>& s, std::int64_t sequence, std::int64_t from, bool backwards) {
        const std::int64_t row = 2 * s.states;
        step = backwards ? -row : row;
        at = sequence * s.length * row + from + (backwards ? (s.length - 1) * row : 0);
        state = sequence * row + from;
    }
};

template <int Count, class Real>
void forward_task(const Steps<Real>& s, std::int64_t sequence, std::int64_t from, const Real* b, Real* x) {
    using P = Pairs<Real>;
    const Place<Real> p(s, sequence, from, s.reverse);
    Factor<Real> a[Count];
    typename P::type state[Count] = {};
    for (int i = 0; i < Count; ++i) {
        a[i] = Factor<Real>(s.a + from + i * P::width, false);
        if (s.initial) state[i] = P::load(s.initial + p.state + i * P::width);
    }
    std::int64_t at = p.at;
    for (std::int64_t k = 0; k < s.length; ++k, at += p.step)
        for (int i = 0; i < Count; ++i) {
            state[i] = a[i].times(state[i], P::load(b + at + i * P::width));
            P::store(x + at + i * P::width, state[i]);
        }
}

// One state that fills no vector.
template <class Real>
void forward_rest(const Steps<Real>& s, std::int64_t sequence, std::int64_t from, const Real* b, Real* x) {
    const Place<Real> p(s, sequence, from, s.reverse);
    const Real ar = s.a[from], ai = s.a[from + 1];
    Real re = s.initial ? s.initial[p.state] : Real{}, im = s.initial ? s.initial[p.state + 1] : Real{};
    std::int64_t at = p.at;
    for (std::int64_t k = 0; k < s.length; ++k, at += p.step) {
        const Real next = (b[at] + ar * re) - ai * im;
        im = (b[at + 1] + ar * im) + ai * re;
        re = next;
        x[at] = re;
        x[at + 1] = im;
    }
}

template <int Count, class Real>
void backward_task(const Steps<Real>& s, std::int64_t sequence, std::int64_t from, const Real* x, const Real* slope,
                   Real* db, Real* da, Real* dinitial) {
    using P = Pairs<Real>;
    constexpr int width = P::width;
    const Place<Real> p(s, sequence, from, !s.reverse);
    Factor<Real> a[Count];
    typename P::type g[Count] = {};
    double direct[Count * width] = {}, crossed[Count * width] = {};
    for (int i = 0; i < Count; ++i) a[i] = Factor<Real>(s.a + from + i * width, true);
    const Real zeros[Count * width] = {};
    std::int64_t at = p.at;
    for (std::int64_t k = 0; k < s.length;) {
        typename P::type products[2][Count] = {};
        const std::int64_t until = least(s.length, k + exact);
        for (; k < until; ++k, at += p.step) {
            const Real* earlier = k + 1 < s.length ? x + at + p.step : s.initial ? s.initial + p.state : zeros;
            for (int i = 0; i < Count; ++i) {
                g[i] = a[i].times(g[i], P::load(slope + at + i * width));
                P::store(db + at + i * width, g[i]);
                const auto before = P::load(earlier + i * width);
                products[0][i] += g[i] * before;
                products[1][i] += P::swapped(g[i]) * before;
            }
        }
        for (int i = 0; i < Count; ++i)
            for (int j = 0; j < width; ++j) {
                direct[i * width + j] += products[0][i][j];
                crossed[i * width + j] += products[1][i][j];
            }
    }
    for (int j = 0; j < Count * width; j += 2) { // g conj(x)
        da[p.state + j] = static_cast<Real>(direct[j] + direct[j + 1]);
        da[p.state + j + 1] = static_cast<Real>(crossed[j] - crossed[j + 1]);
    }
    for (int i = 0; i < Count; ++i) P::store(dinitial + p.state + i * width, a[i].times(g[i], typename P::type{}));
}

template <class Real>
void backward_rest(const Steps<Real>& s, std::int64_t sequence, std::int64_t from, const Real* x, const Real* slope,
                   Real* db, Real* da, Real* dinitial) {
    const Place<Real> p(s, sequence, from, !s.reverse);
    const Real ar = s.a[from], ai = -s.a[from + 1];
    const Real zeros[2] = {};
    Real re = 0, im = 0;
    double sum_re = 0, sum_im = 0;
    std::int64_t at = p.at;
    for (std::int64_t k = 0; k < s.length; ++k, at += p.step) {
        const Real* earlier = k + 1 < s.length ? x + at + p.step : s.initial ? s.initial + p.state : zeros;
        const Real next = (slope[at] + ar * re) - ai * im;
        im = (slope[at + 1] + ar * im) + ai * re;
        re = next;
        db[at] = re;
        db[at + 1] = im;
        sum_re += re * earlier[0] + im * earlier[1];
        sum_im += im * earlier[0] - re * earlier[1];
    }
    da[p.state] = static_cast<Real>(sum_re);
    da[p.state + 1] = static_cast<Real>(sum_im);
    dinitial[p.state] = ar * re - ai * im;
    dinitial[p.state + 1] = ar * im + ai * re;
}

// Calls wide(count, from) for as many vectors as there are, and rest(from) for states that fill none.
template <class Real, class Wide, class Rest>
void over_states(const Steps<Real>& s, int flops, int threads, const Wide& wide, const Rest& rest) {
    constexpr std::int64_t width = Pairs<Real>::width, task = wide_task * width;
    const std::int64_t numbers = 2 * s.states, tasks = ceil_div(numbers, task);
    threads = worthwhile_threads(flops * s.batch * s.length * s.states, threads);
    parallel_chunks(s.batch * tasks, threads, [&](std::int64_t chunk) {
        const std::int64_t sequence = chunk / tasks;
        std::int64_t from = chunk % tasks * task;
        const std::int64_t until = least(numbers, from + task);
        if (until - from == task) {
            wide(std::integral_constant<int, wide_task>{}, sequence, from);
            return;
        }
        for (; from + width <= until; from += width) wide(std::integral_constant<int, 1>{}, sequence, from);
        for (; from < until; from += 2) rest(sequence, from);
    });
}

template <class Real>
void scan(const Steps<Real>& s, const Real* b, Real* x, int threads) {
    over_states(
        s, 8, threads,
        [&](auto count, std::int64_t sequence, std::int64_t from) { forward_task<count()>(s, sequence, from, b, x); },
        [&](std::int64_t sequence, std::int64_t from) { forward_rest(s, sequence, from, b, x); });
}

template <class Real>
void scan_back(const Steps<Real>& s, const Real* x, const Real* slope, Real* db, Real* da, Real* dinitial, int threads) {
    over_states(
        s, 16, threads,
        [&](auto count, std::int64_t sequence, std::int64_t from) {
            backward_task<count()>(s, sequence, from, x, slope, db, da, dinitial);
        },
        [&](std::int64_t sequence, std::int64_t from) {
            backward_rest(s, sequence, from, x, slope, db, da, dinitial);
        });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::ssm
