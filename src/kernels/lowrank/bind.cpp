#include "../dispatch/bind.hpp"
#include "lowrank.hpp"

namespace gossamer::lowrank {
namespace {

template <auto Entry, class Real>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Array<Real, 2> y, Array<const Real, 2> left, Array<const Real, 2> right, Array<const Real, 2> x,
             int threads) {
              const Matrix<Real> a{static_cast<std::int64_t>(left.shape(0)), static_cast<std::int64_t>(left.shape(1)),
                                   static_cast<std::int64_t>(right.shape(1)), left.data(), right.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(lowrank).*Entry)(a, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    m.attr("entries") = nb::make_tuple("float32", "float64");
}

} // namespace gossamer::lowrank
