#include "../dispatch/bind.hpp"
#include "../lowrank/bound.hpp"
#include "quant.hpp"

namespace gossamer::quant {
namespace {

using Groups = Array<const std::uint8_t, 3>;
using Halves = Array<const std::uint16_t, 2>;
using Nibbles = Array<const std::uint8_t, 1>;

template <class Real>
void matmat(Matmat<Real> kernel, Groups codes, Halves scale, Nibbles integer_zero, Halves float_zero,
            Array<const Real, 2> x, Array<Real, 2> y, int bits, std::int64_t group, int threads,
            const lowrank::BoundFactor* left, const lowrank::BoundFactor* right) {
    const auto rows = static_cast<std::int64_t>(codes.shape(0)), groups = static_cast<std::int64_t>(codes.shape(1));
    const Matrix a{rows, static_cast<std::int64_t>(x.shape(0)), groups,
                   {bits, group, rows * groups, codes.data(), scale.data(),
                    integer_zero.is_valid() ? integer_zero.data() : nullptr,
                    float_zero.is_valid() ? float_zero.data() : nullptr}};
    const auto term = lowrank::term(left, right);
    nb::gil_scoped_release release;
    kernel(a, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(), term ? &*term : nullptr, threads);
}

template <auto Entry, class Real>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Groups codes, Halves scale, Nibbles integer_zero, Halves float_zero, Array<const Real, 2> x,
             Array<Real, 2> y, int bits, std::int64_t group, int threads, const lowrank::BoundFactor* left,
             const lowrank::BoundFactor* right) {
              matmat<Real>(GOSSAMER_SELECT_DOT(quant).*Entry, codes, scale, integer_zero, float_zero, x, y, bits, group,
                           threads, left, right);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert().none(), nb::arg().noconvert().none(),
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none());
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    define<&Table::int8, float>(m, "int8");
    m.attr("entries") = nb::make_tuple("float32", "float64", "int8");
}

} // namespace gossamer::quant
