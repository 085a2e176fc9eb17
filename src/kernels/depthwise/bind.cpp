#include "../dispatch/bind.hpp"
#include "depthwise.hpp"

namespace gossamer::depthwise {
namespace {

Shape shape_of(std::int64_t batch, std::int64_t rows, std::int64_t columns, std::int64_t out_rows, std::int64_t out_columns,
               std::int64_t taps, std::int64_t left, bool by_token) {
    return {batch, by_token ? columns : rows, by_token ? rows : columns, by_token ? out_rows : out_columns, taps, left, by_token};
}

template <class A, class B>
Shape shape_of(const A& x, const B& y, std::int64_t taps, std::int64_t left, bool by_token) {
    const auto size = [](const auto& a, int axis) { return static_cast<std::int64_t>(a.shape(axis)); };
    return shape_of(size(x, 0), size(x, 1), size(x, 2), size(y, 1), size(y, 2), taps, left, by_token);
}

template <class Real, class Held, auto Entry>
void define(nb::module_& m, const char* convolve, const char* correlate) {
    m.def(convolve,
          [](Array<const Held, 3> x, Array<const Real, 2> taps, Array<const Real, 1> bias, Array<Held, 3> y,
             std::int64_t left, bool by_token, int threads) {
              const Shape shape = shape_of(x, y, static_cast<std::int64_t>(taps.shape(1)), left, by_token);
              const Real* constant = bias.is_valid() ? bias.data() : nullptr;
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(depthwise).*Entry).convolve(shape, x.data(), taps.data(), constant, y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert().none(), nb::arg().noconvert(), nb::arg(),
          nb::arg(), nb::arg());
    m.def(correlate,
          [](Array<const Held, 3> x, Array<const Held, 3> dy, Array<Real, 2> dtaps, Array<Real, 1> dbias,
             std::int64_t left, bool by_token, int threads) {
              const Shape shape = shape_of(x, dy, static_cast<std::int64_t>(dtaps.shape(1)), left, by_token);
              Real* constant = dbias.is_valid() ? dbias.data() : nullptr;
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(depthwise).*Entry).correlate(shape, x.data(), dy.data(), dtaps.data(), constant, threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert().none(), nb::arg(),
          nb::arg(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    define<float, float, &Table::float32>(m, "convolve_float32", "correlate_float32");
    define<double, double, &Table::float64>(m, "convolve_float64", "correlate_float64");
    define<float, bfloat16, &Table::bfloat16_in_float32>(m, "convolve_bfloat16", "correlate_bfloat16");
}

} // namespace gossamer::depthwise
