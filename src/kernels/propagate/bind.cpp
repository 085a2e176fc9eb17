#include "../dispatch/bind.hpp"
#include "propagate.hpp"

#include <optional>

#include <nanobind/stl/optional.h>

namespace gossamer::propagate {
namespace {

using Longs = Array<const std::int64_t, 1>;
using Ints = Array<const std::int32_t, 1>;
using Floats = Array<const float, 1>;
using Doubles = Array<const double, 1>;
template <class T>
using Maybe = std::optional<T>;

template <class Owner>
auto pointer(const Maybe<Owner>& array) { return array ? array->data() : nullptr; }

Graph graph(const Longs& indptr, const Ints& indices, const Maybe<Floats>& weights, const Maybe<Floats>& scale,
            const Longs& cuts) {
    return {static_cast<std::int64_t>(indptr.shape(0)) - 1, indptr.data(), indices.data(), pointer(weights), pointer(scale),
            cuts.data(), static_cast<std::int64_t>(cuts.shape(0)) - 1};
}

After after(const Maybe<Array<float, 2>>& y, const Maybe<Array<double, 1>>& squares, const Maybe<Array<float, 2>>& total,
            const Maybe<Floats>& coefficients, float alpha) {
    return {pointer(y), pointer(squares), pointer(total), pointer(coefficients), alpha};
}

} // namespace

void bind(nb::module_& m) {
    const auto fixed = nb::arg().noconvert();
    const auto maybe = nb::arg().noconvert().none();
    m.def("dense",
          [](Longs indptr, Ints indices, Maybe<Floats> weights, Maybe<Floats> scale, Longs cuts,
             Array<const float, 2> x, Maybe<Array<float, 2>> y, Maybe<Array<double, 1>> squares,
             Maybe<Array<float, 2>> total, Maybe<Floats> coefficients, float alpha, int threads) {
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(propagate).dense(graph(indptr, indices, weights, scale, cuts), x.data(),
                                               static_cast<std::int64_t>(x.shape(1)),
                                               after(y, squares, total, coefficients, alpha), threads);
          },
          fixed, fixed, maybe, maybe, fixed, fixed, maybe, maybe, maybe, maybe, nb::arg(), nb::arg());
    m.def("sparse",
          [](Longs indptr, Ints indices, Maybe<Floats> weights, Maybe<Floats> scale, Longs cuts, Longs x_indptr,
             Ints x_indices, Floats x_values, std::int64_t width, Maybe<Array<float, 2>> y,
             Maybe<Array<double, 1>> squares, Maybe<Array<float, 2>> total, Maybe<Floats> coefficients, float alpha,
             int threads) {
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(propagate).sparse(graph(indptr, indices, weights, scale, cuts),
                                                {x_indptr.data(), x_indices.data(), x_values.data()}, width,
                                                after(y, squares, total, coefficients, alpha), threads);
          },
          fixed, fixed, maybe, maybe, fixed, fixed, fixed, fixed, nb::arg(), maybe, maybe, maybe, maybe, nb::arg(), nb::arg());
    m.def("scale",
          [](Array<const float, 2> y, Floats coefficients, Array<float, 2> out, std::int64_t column, bool add, int threads) {
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(propagate).scale(y.data(), coefficients.data(), static_cast<std::int64_t>(y.shape(0)),
                                               static_cast<std::int64_t>(y.shape(1)), out.data() + column,
                                               static_cast<std::int64_t>(out.shape(1)), add, threads);
          },
          fixed, fixed, fixed, nb::arg(), nb::arg(), nb::arg());
    m.def("moments",
          [](Array<const float, 2> x, Floats shift, Array<double, 2> sums, Array<double, 2> squares, std::int64_t piece,
             int threads) {
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(propagate).moments(x.data(), static_cast<std::int64_t>(x.shape(0)),
                                                 static_cast<std::int64_t>(x.shape(1)),
                                                 {shift.data(), sums.data(), squares.data(), piece}, threads);
          },
          fixed, fixed, fixed, fixed, nb::arg(), nb::arg());
    m.def("standardize",
          [](Array<float, 2> x, Doubles mean, Doubles inverse, int threads) {
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(propagate).standardize(x.data(), static_cast<std::int64_t>(x.shape(0)),
                                                     static_cast<std::int64_t>(x.shape(1)), mean.data(), inverse.data(),
                                                     threads);
          },
          fixed, fixed, fixed, nb::arg());
}

} // namespace gossamer::propagate
