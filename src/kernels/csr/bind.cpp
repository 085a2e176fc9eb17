#include "../dispatch/bind.hpp"
#include "csr.hpp"

namespace gossamer::csr {
namespace {

template <auto Entry, class Value, class Index>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Array<const Index, 1> indptr, Array<const Index, 1> indices, Array<const Value, 1> data,
             Array<const Value, 2> x, Array<Value, 2> y, int threads) {
              const Matrix<Value, Index> a{static_cast<std::int64_t>(y.shape(0)), static_cast<std::int64_t>(x.shape(0)),
                                           indptr.data(), indices.data(), data.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(csr).*Entry)(
                  a, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32_int32, float, std::int32_t>(m, "float32_int32");
    define<&Table::float32_int64, float, std::int64_t>(m, "float32_int64");
    define<&Table::float64_int32, double, std::int32_t>(m, "float64_int32");
    define<&Table::float64_int64, double, std::int64_t>(m, "float64_int64");
    m.attr("entries") = nb::make_tuple("float32_int32", "float32_int64", "float64_int32", "float64_int64");
}

} // namespace gossamer::csr
