#include "../dispatch/bind.hpp"
#include "ssm.hpp"

#include <optional>
#include <string>

#include <nanobind/stl/optional.h>

namespace gossamer::ssm {
namespace {

template <class Real, std::size_t Rank>
using In = Array<const Real, Rank>;

template <class Real>
Modes<Real> modes(const In<Real, 3>& c, const In<Real, 3>& z, std::int64_t length) {
    return {c.data(), z.data(), static_cast<std::int64_t>(c.shape(0)), static_cast<std::int64_t>(c.shape(1)), length};
}

template <class Real>
Steps<Real> steps(const In<Real, 2>& a, const std::optional<In<Real, 3>>& initial, const In<Real, 4>& b, bool reverse) {
    const auto size = [&](int axis) { return static_cast<std::int64_t>(b.shape(axis)); };
    return {a.data(), initial ? initial->data() : nullptr, size(0), size(1), size(2), reverse};
}

template <auto Entry, class Real>
void define(nb::module_& m, const std::string& name) { // complex numbers come with a last axis of 2
    m.def(("kernel_" + name).c_str(),
          [](In<Real, 3> c, In<Real, 3> z, Array<Real, 2> out, int threads) {
              const auto task = modes<Real>(c, z, static_cast<std::int64_t>(out.shape(1)));
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(ssm).*Entry).kernel(task, out.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def(("kernel_back_" + name).c_str(),
          [](In<Real, 3> c, In<Real, 3> z, In<Real, 2> slope, Array<Real, 3> dc, Array<Real, 3> dz, int threads) {
              const auto task = modes<Real>(c, z, static_cast<std::int64_t>(slope.shape(1)));
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(ssm).*Entry).kernel_back(task, slope.data(), dc.data(), dz.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg());
    m.def(("scan_" + name).c_str(),
          [](In<Real, 2> a, In<Real, 4> b, std::optional<In<Real, 3>> initial, bool reverse, Array<Real, 4> x,
             int threads) {
              const auto task = steps<Real>(a, initial, b, reverse);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(ssm).*Entry).scan(task, b.data(), x.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().none(), nb::arg(), nb::arg().noconvert(), nb::arg());
    m.def(("scan_back_" + name).c_str(),
          [](In<Real, 2> a, In<Real, 4> x, std::optional<In<Real, 3>> initial, bool reverse, In<Real, 4> slope,
             Array<Real, 4> db, Array<Real, 3> da, Array<Real, 3> dinitial, int threads) {
              const auto task = steps<Real>(a, initial, x, reverse);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(ssm).*Entry)
                  .scan_back(task, x.data(), slope.data(), db.data(), da.data(), dinitial.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().none(), nb::arg(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
}

} // namespace gossamer::ssm
