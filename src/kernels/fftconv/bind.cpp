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
    Bound(std::int64_t points, const std::vector<int>& radices, bool columns, bool twisted, bool products)
        : table(GOSSAMER_SELECT(fftconv)),
          plan(points, radices, columns, twisted, products, table.bytes / static_cast<int>(sizeof(Real))) {}
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
           Rows<Held> y, Array<const std::uint8_t, 1> live, int threads) {
            const Shape shape{static_cast<std::int64_t>(u.shape(0)), static_cast<std::int64_t>(u.shape(1)),
                              static_cast<std::int64_t>(u.shape(2)), taps};
            const Forward<Real, Held> call{shape,        u.data(),    data(k), data(spectra), data(before),
                                           data(after), data(skip), y.data(), data(live)};
            const View<Real> view = self.plan.view();
            nb::gil_scoped_release release;
            Pick(self.table).convolve(view, call, threads);
        },
        nb::arg().noconvert(), nb::arg(), nb::arg().noconvert().none(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert(),
        nb::arg().noconvert().none(), nb::arg());
    type.def(
        differentiate,
        [](const Bound<Real>& self, Rows<const Held> dy, Rows<const Held> u, std::int64_t taps, Array<const Held, 2> k,
           Array<const Real, 2> spectra, Rows<const Held> before, Rows<const Held> after, Array<const Held, 1> skip,
           Rows<Held> du, Array<Real, 2> dk,
           Rows<Held> dbefore, Rows<Held> dafter, Array<double, 1> dskip, int threads) {
            const Shape shape{static_cast<std::int64_t>(u.shape(0)), static_cast<std::int64_t>(u.shape(1)),
                              static_cast<std::int64_t>(u.shape(2)), taps};
            const Backward<Real, Held> call{shape,       dy.data(),   u.data(),   data(k),      data(spectra), data(before),
                                            data(after), data(skip),  data(du),   data(dbefore), data(dafter),  data(dk),
                                            data(dskip)};
            const View<Real> view = self.plan.view();
            nb::gil_scoped_release release;
            Pick(self.table).differentiate(view, call, threads);
        },
        nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert().none(),
        nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg());
}

template <class Real, auto Entry, auto Spectra>
nb::class_<Bound<Real>> define_plan(nb::module_& m, const char* name) {
    nb::class_<Bound<Real>> type(m, name);
    type.def(nb::init<std::int64_t, const std::vector<int>&, bool, bool, bool>());
    type.def_prop_ro("lanes", [](const Bound<Real>& self) { return self.plan.lanes; });
    type.def_prop_ro("spectrum_reals", [](const Bound<Real>& self) { return spectrum_reals(self.plan); });
    type.def_prop_ro("nbytes", [](const Bound<Real>& self) {
        return sizeof(Real) * (self.plan.constants.size() + self.plan.tile_lanes.size());
    });
    type.def(
        "spectrum",
        [](const Bound<Real>& self, Array<const Real, 2> k, Array<Real, 2> out, int threads) {
            const auto channels = static_cast<std::int64_t>(k.shape(0)), taps = static_cast<std::int64_t>(k.shape(1));
            const View<Real> view = self.plan.view();
            nb::gil_scoped_release release;
            (self.table.*Spectra)(view, k.data(), {1, channels, taps, taps}, out.data(), threads);
        },
        nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    type.def(
        "transform",
        [](const Bound<Real>& self, Array<const Real, 3> from, Array<Real, 3> to, bool inverse, int threads) {
            const View<Real> view = self.plan.view();
            nb::gil_scoped_release release;
            (self.table.*Entry)(view, from.data(), to.data(), static_cast<std::int64_t>(from.shape(0)), inverse, threads);
        },
        nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg());
    return type;
}

} // namespace

void bind(nb::module_& m) {
    auto float32 = define_plan<float, &Table::transform32, &Table::spectrum32>(m, "Plan32");
    define<float, float, [](const Table& t) { return t.float32; }>(float32, "convolve_float32", "differentiate_float32");
    define<float, bfloat16, [](const Table& t) { return t.bfloat16_in_float32; }>(
        float32, "convolve_bfloat16", "differentiate_bfloat16");
    auto float64 = define_plan<double, &Table::transform64, &Table::spectrum64>(m, "Plan64");
    define<double, double, [](const Table& t) { return t.float64; }>(float64, "convolve_float64", "differentiate_float64");
    m.def("vector_bytes", [] { return GOSSAMER_SELECT(fftconv).bytes; });
}

} // namespace gossamer::fftconv
