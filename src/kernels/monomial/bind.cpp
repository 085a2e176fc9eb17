#include "../dispatch/bind.hpp"
#include "monomial.hpp"

#include <string>

namespace gossamer::monomial {
namespace {

using Indices = Array<const std::int32_t, 1>;

Program program(const Indices& parent, const Indices& variable) {
    return {static_cast<std::int64_t>(parent.shape(0)), parent.data(), variable.data()};
}

template <class Real>
Points<Real> points(const Array<const Real, 3>& x) {
    return {static_cast<std::int64_t>(x.shape(0)), static_cast<std::int64_t>(x.shape(1)),
            static_cast<std::int64_t>(x.shape(2)), x.data()};
}

template <auto Entry, class Real>
void bind_real(nb::module_& m, const std::string& name) {
    using In = Array<const Real, 3>;
    using Out = Array<Real, 3>;
    m.def(("features_" + name).c_str(),
          [](Indices parent, Indices variable, In x, Out f, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(monomial).*Entry).features(program(parent, variable), points(x), f.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def(("accumulate_" + name).c_str(),
          [](Indices parent, Indices variable, In x, In v, Out s, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(monomial).*Entry)
                  .accumulate(program(parent, variable), points(x), v.data(), static_cast<std::int64_t>(v.shape(2)),
                              s.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg());
    m.def(("apply_" + name).c_str(),
          [](Indices parent, Indices variable, In x, In w, Out y, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(monomial).*Entry)
                  .apply(program(parent, variable), points(x), w.data(), static_cast<std::int64_t>(w.shape(1)),
                         y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg());
    m.def(("gradient_" + name).c_str(),
          [](Indices parent, Indices variable, In x, In v, In s, Out dx, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(monomial).*Entry)
                  .gradient(program(parent, variable), points(x), v.data(), s.data(),
                            static_cast<std::int64_t>(v.shape(2)), dx.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    bind_real<&Table::float32, float>(m, "float32");
    bind_real<&Table::float64, double>(m, "float64");
}

} // namespace gossamer::monomial
