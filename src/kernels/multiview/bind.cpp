#include "../dispatch/bind.hpp"
#include "multiview.hpp"

#include <string>

namespace gossamer::multiview {
namespace {

template <class Stored, class Real>
Batch<Stored, Real> batch(const Array<const Stored, 2>& x, const Array<const Real, 1>& offset) {
    return {static_cast<std::int64_t>(x.shape(0)), static_cast<std::int64_t>(x.shape(1)), x.data(), offset.data()};
}

template <auto Entry, class Stored, class Real>
void passes(nb::module_& m, const std::string& name) {
    m.def(("scores_" + name).c_str(),
          [](Array<const Stored, 2> x, Array<const Real, 1> offset, Array<const Real, 2> u, Array<double, 2> z, int threads) {
              const auto view = batch(x, offset);
              const auto K = static_cast<std::int64_t>(u.shape(0));
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(multiview).*Entry).scores(view, u.data(), K, z.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def(("gradient_" + name).c_str(),
          [](Array<const Stored, 2> x, Array<const Real, 1> offset, Array<const Real, 2> r, Array<const Real, 2> u,
             Array<const Real, 2> s, Array<Real, 2> g, int threads) {
              const auto view = batch(x, offset);
              const auto C = static_cast<std::int64_t>(r.shape(1)), K = static_cast<std::int64_t>(u.shape(0));
              const Real* own = s.is_valid() ? s.data() : nullptr;
              nb::gil_scoped_release release;
              return (GOSSAMER_SELECT(multiview).*Entry).gradient(view, r.data(), C, u.data(), own, K, g.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert().none(), nb::arg().noconvert(), nb::arg());
}

template <auto Entry, class Real>
void step(nb::module_& m, const std::string& name) {
    m.def(("adam_" + name).c_str(),
          [](Array<Real, 2> u, Array<const Real, 2> g, Array<Real, 2> first, Array<Real, 2> second, double a, double b,
             double rate, double epsilon, double scale, int threads) {
              const auto count = static_cast<std::int64_t>(u.size());
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(multiview).*Entry)(u.data(), g.data(), first.data(), second.data(), count,
                                                  Moments{a, b, rate, epsilon, scale}, threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg(),
          nb::arg(), nb::arg(), nb::arg(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    passes<&Table::int8, std::int8_t, float>(m, "int8");
    passes<&Table::uint8, std::uint8_t, float>(m, "uint8");
    passes<&Table::float16, std::uint16_t, float>(m, "float16");
    passes<&Table::float32, float, float>(m, "float32");
    passes<&Table::float64, double, double>(m, "float64");
    step<&Table::adam32, float>(m, "float32");
    step<&Table::adam64, double>(m, "float64");
}

} // namespace gossamer::multiview
