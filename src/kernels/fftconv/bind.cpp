#include "../dispatch/bind.hpp"
#include "fftconv.hpp"

#include <nanobind/stl/vector.h>

#include <stdexcept>

namespace gossamer::fftconv {
namespace {

// A plan keeps the path that it was made for: its lanes are that path's.
template <class Real>
struct Bound {
    const Table& table;
    Plan<Real> plan;
    PairProduct pair_product = nullptr;
    Bound(std::int64_t points, const std::vector<int>& radices, bool columns, bool twisted, bool products, bool bfloat16)
        : table(GOSSAMER_SELECT(fftconv)),
          plan(points, radices, columns, twisted, products, table.bytes / static_cast<int>(sizeof(Real))) {
        if (!bfloat16) return;
        pair_product = table.pair_product;
#if defined(__x86_64__)
        if (has_bfloat16()) pair_product = avx512bf16_pair_product;
#endif
    }
    View<Real> view() const { return plan.view(pair_product); }
};

template <class Scalar>
using Rows = Array<Scalar, 3>; // (batch, channels, length)

template <class A>
auto data(const A& array) { return array.is_valid() ? array.data() : nullptr; }

template <class Real>
std::int64_t group_size(const Plan<Real>& plan) { return plan.columns ? 1 : plan.lanes; }

template <class Real>
std::int64_t spectrum_reals(const Plan<Real>& plan) { return 2 * plan.points * group_size(plan); }

template <class Real, class Held, auto Pick>
void define(nb::class_<Bound<Real>>& type, const char* convolve, const char* differentiate) {
    type.def(
        convolve,
        [](const Bound<Real>& self, Rows<const Held> u, std::int64_t taps, Array<const Held, 2> k,
           Array<const Real, 2> spectra, Rows<const Held> before, Rows<const Held> after, Array<const Held, 1> skip,
           Rows<Held> y, Array<const std::uint8_t, 1> live, std::int64_t history, std::int64_t step, int threads) {
            const Shape shape{static_cast<std::int64_t>(u.shape(0)), static_cast<std::int64_t>(u.shape(1)),
                              static_cast<std::int64_t>(y.shape(2)), taps, history, step};
            const Forward<Real, Held> call{shape,        u.data(),    data(k), data(spectra), data(before),
                                           data(after), data(skip), y.data(), data(live)};
            const View<Real> view = self.view();
            nb::gil_scoped_release release;
            Pick(self.table).convolve(view, call, threads);
        },
        nb::arg().noconvert(), nb::arg(), nb::arg().noconvert().none(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert(),
        nb::arg().noconvert().none(), nb::arg(), nb::arg(), nb::arg());
    type.def(
        differentiate,
        [](const Bound<Real>& self, Rows<const Held> dy, Rows<const Held> u, std::int64_t taps, Array<const Held, 2> k,
           Array<const Real, 2> spectra, Rows<const Held> before, Rows<const Held> after, Array<const Held, 1> skip,
           Rows<Held> du, Array<Real, 2> dk,
           Rows<Held> dbefore, Rows<Held> dafter, Array<double, 1> dskip, Array<const std::uint8_t, 1> live,
           std::int64_t step, int threads) {
            const Shape shape{static_cast<std::int64_t>(u.shape(0)), static_cast<std::int64_t>(u.shape(1)),
                              static_cast<std::int64_t>(u.shape(2)), taps, 0, step};
            const Backward<Real, Held> call{shape,       dy.data(),   u.data(),   data(k),      data(spectra), data(before),
                                            data(after), data(skip),  data(du),   data(dbefore), data(dafter),  data(dk),
                                            data(dskip), data(live)};
            const View<Real> view = self.view();
            nb::gil_scoped_release release;
            Pick(self.table).differentiate(view, call, threads);
        },
        nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg(), nb::arg());
}

template <class Real, auto Forth, auto Back>
void define_lowpass(nb::class_<Bound<Real>>& type) {
    const auto call = [](Rows<const Real> u, Array<const Real, 2> k, Array<const Real, 2> window, Array<const Real, 1> weights) {
        const auto size = [](const auto& a, int axis) { return static_cast<std::int64_t>(a.shape(axis)); };
        return LowPass<Real>{{size(u, 0), size(u, 1), size(u, 2), size(k, 1)}, size(window, 0), size(window, 1) / 2, window.data(),
                             weights.data(), u.data(), k.data(), nullptr, nullptr, nullptr, nullptr};
    };
    type.def(
        "lowpass",
        [call](const Bound<Real>& self, Rows<const Real> u, Array<const Real, 2> k, Array<const Real, 2> window,
               Array<const Real, 1> weights, Rows<Real> y, int threads) {
            LowPass<Real> rows = call(u, k, window, weights);
            rows.y = y.data();
            const View<Real> view = self.view();
            nb::gil_scoped_release release;
            (self.table.*Forth)(view, rows, threads);
        },
        nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    type.def(
        "lowpass_gradients",
        [call](const Bound<Real>& self, Rows<const Real> dy, Rows<const Real> u, Array<const Real, 2> k, Array<const Real, 2> window,
               Array<const Real, 1> weights, Rows<Real> du, Array<Real, 2> dk, int threads) {
            LowPass<Real> rows = call(u, k, window, weights);
            rows.dy = dy.data(), rows.du = data(du), rows.dk = data(dk);
            const View<Real> view = self.view();
            nb::gil_scoped_release release;
            (self.table.*Back)(view, rows, threads);
        },
        nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg());
}

template <class Real, auto Entry, auto Spectra>
nb::class_<Bound<Real>> define_plan(nb::module_& m, const char* name) {
    nb::class_<Bound<Real>> type(m, name);
    type.def(nb::init<std::int64_t, const std::vector<int>&, bool, bool, bool, bool>());
    type.def_prop_ro("lanes", [](const Bound<Real>& self) { return self.plan.lanes; });
    type.def_prop_ro("spectrum_reals", [](const Bound<Real>& self) { return spectrum_reals(self.plan); });
    type.def_prop_ro("nbytes", [](const Bound<Real>& self) {
        return sizeof(Real) * (self.plan.constants.size() + self.plan.tile_lanes.size());
    });
    type.def(
        "spectrum",
        [](const Bound<Real>& self, Array<const Real, 2> k, Array<Real, 2> out, Array<const std::uint8_t, 1> live,
           Array<const Real, 1> weights, int threads) {
            const auto channels = static_cast<std::int64_t>(k.shape(0)), taps = static_cast<std::int64_t>(k.shape(1));
            const View<Real> view = self.view();
            nb::gil_scoped_release release;
            (self.table.*Spectra)(view, k.data(), {1, channels, taps, taps}, data(live), data(weights), out.data(), threads);
        },
        nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg());
    type.def(
        "transform",
        [](const Bound<Real>& self, Array<const Real, 3> from, Array<Real, 3> to, bool inverse, int threads) {
            const View<Real> view = self.view();
            nb::gil_scoped_release release;
            (self.table.*Entry)(view, from.data(), to.data(), static_cast<std::int64_t>(from.shape(0)), inverse, threads);
        },
        nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg());
    return type;
}

template <class Real, auto Entry>
void define_resample(nb::module_& m, const char* name, bool back) {
    m.def(name, [back](Array<const Real, 2> from, Array<const Real, 2> window, Array<Real, 2> to, int threads) {
        const auto size = [](const auto& a, int axis) { return static_cast<std::int64_t>(a.shape(axis)); };
        const Grids grids{size(from, 0), back ? size(to, 1) : size(from, 1), back ? size(from, 1) : size(to, 1), size(window, 0), size(window, 1) / 2};
        nb::gil_scoped_release release;
        (GOSSAMER_SELECT(fftconv).*Entry)(grids, from.data(), window.data(), to.data(), threads);
    }, nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    auto float32 = define_plan<float, &Table::transform32, &Table::spectrum32>(m, "Plan32");
    define<float, float, [](const Table& t) { return t.float32; }>(float32, "convolve_float32", "differentiate_float32");
    define<float, bfloat16, [](const Table& t) { return t.bfloat16_in_float32; }>(
        float32, "convolve_bfloat16", "differentiate_bfloat16");
    auto float64 = define_plan<double, &Table::transform64, &Table::spectrum64>(m, "Plan64");
    define<double, double, [](const Table& t) { return t.float64; }>(float64, "convolve_float64", "differentiate_float64");
    define_lowpass<float, &Table::lowpass32, &Table::lowpass_back32>(float32);
    define_lowpass<double, &Table::lowpass64, &Table::lowpass_back64>(float64);
    define_resample<float, &Table::decimate32>(m, "decimate_float32", false);
    define_resample<float, &Table::interpolate32>(m, "interpolate_float32", true);
    define_resample<double, &Table::decimate64>(m, "decimate_float64", false);
    define_resample<double, &Table::interpolate64>(m, "interpolate_float64", true);
    m.def("vector_bytes", [] { return GOSSAMER_SELECT(fftconv).bytes; });
}

} // namespace gossamer::fftconv
