#include "../dispatch/bind.hpp"
#include "nm.hpp"

namespace gossamer::nm {
namespace {

template <auto Entry, class Real>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Array<const Real, 2> values, Array<const std::uint8_t, 2> positions, Array<const Real, 2> x,
             Array<Real, 2> y, int n, int of, int position_bits, int threads) {
              const Matrix<Real> a{static_cast<std::int64_t>(y.shape(0)), static_cast<std::int64_t>(x.shape(0)),
                                   n, of, position_bits, values.data(), positions.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(nm).*Entry)(a, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(),
          nb::arg(), nb::arg(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    m.attr("entries") = nb::make_tuple("float32", "float64");
}

} // namespace gossamer::nm
