#include "bound.hpp"

namespace gossamer::lowrank {
namespace {

template <class Scalar>
BoundFactor dense(Storage storage, const Array<const Scalar, 2>& values) {
    return {{storage, static_cast<std::int64_t>(values.shape(0)), static_cast<std::int64_t>(values.shape(1)),
             values.data(), 0, {}},
            nb::cast(values)};
}

using Halves = Array<const std::uint16_t, 2>;
using Zeros = Array<const std::uint8_t, 1>;

BoundFactor codes(Array<const std::uint8_t, 3> qweight, Halves scale, Zeros integer_zero, Halves float_zero,
                  std::int64_t cols, int bits, std::int64_t group) {
    const auto rows = static_cast<std::int64_t>(qweight.shape(0)), groups = static_cast<std::int64_t>(qweight.shape(1));
    const QuantisedGroups view{bits, group, rows * groups, qweight.data(), scale.data(),
                               integer_zero.is_valid() ? integer_zero.data() : nullptr,
                               float_zero.is_valid() ? float_zero.data() : nullptr};
    nb::list arrays;
    arrays.append(nb::cast(qweight));
    arrays.append(nb::cast(scale));
    if (integer_zero.is_valid()) arrays.append(nb::cast(integer_zero));
    if (float_zero.is_valid()) arrays.append(nb::cast(float_zero));
    return {{Storage::codes, rows, cols, nullptr, groups, view}, arrays};
}

template <auto Entry, class Real>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Array<Real, 2> y, const BoundFactor& left, const BoundFactor& right, Array<const Real, 2> x, int threads) {
              const Term both{left.view, right.view};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(lowrank).*Entry)(both, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg(), nb::arg(), nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    nb::class_<BoundFactor>(m, "Factor");
    m.def("dense", [](Array<const float, 2> a) { return dense(Storage::float32, a); }, nb::arg().noconvert());
    m.def("dense", [](Array<const double, 2> a) { return dense(Storage::float64, a); }, nb::arg().noconvert());
    m.def("dense", [](Halves a) { return dense(Storage::bfloat16, a); }, nb::arg().noconvert());
    m.def("codes", &codes, nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert().none(),
          nb::arg().noconvert().none(), nb::arg(), nb::arg(), nb::arg());
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    m.attr("entries") = nb::make_tuple("float32", "float64");
}

} // namespace gossamer::lowrank
