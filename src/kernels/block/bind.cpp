#include "../dispatch/bind.hpp"
#include "block.hpp"

namespace gossamer::block {
namespace {

template <auto Entry, class Real>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Array<const std::int32_t, 1> indptr, Array<const std::int32_t, 1> indices, Array<const Real, 3> blocks,
             Array<const Real, 2> x, Array<Real, 2> y, int threads) {
              const Matrix<Real> a{static_cast<std::int64_t>(indptr.shape(0)) - 1,
                                   static_cast<std::int64_t>(blocks.shape(1)),
                                   static_cast<std::int64_t>(blocks.shape(2)), indptr.data(), indices.data(),
                                   blocks.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(block).*Entry)(a, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    m.attr("entries") = nb::make_tuple("float32", "float64");
}

} // namespace gossamer::block
