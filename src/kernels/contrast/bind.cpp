#include "../dispatch/bind.hpp"
#include "contrast.hpp"

namespace gossamer::contrast {
namespace {

using Pointers = Array<const std::int64_t, 1>;
using Indices = Array<const std::int32_t, 1>;
template <class Real>
using Vector = Array<const Real, 1>;
template <class Real>
using Rows = Array<const Real, 2>;

template <class Real>
Strengths<Real> strengths(const Pointers& indptr, const Indices& indices, const Vector<Real>& there, const Vector<Real>& back) {
    return {static_cast<std::int64_t>(indptr.shape(0)) - 1, indptr.data(), indices.data(), there.data(), back.data()};
}

template <class Real>
Points<Real> points(const Rows<Real>& u, double tau) {
    return {u.data(), static_cast<std::int64_t>(u.shape(1)), static_cast<Real>(tau)};
}

template <auto Forward, auto Backward, class Real>
void define(nb::module_& m, const char* sums, const char* gradient) {
    const auto fixed = nb::arg().noconvert();
    m.def(sums,
          [](Pointers indptr, Indices indices, Vector<Real> there, Vector<Real> back, Rows<Real> u, double tau,
             Array<Real, 1> p, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(contrast).*Forward)(strengths(indptr, indices, there, back), points(u, tau), p.data(), threads);
          },
          fixed, fixed, fixed, fixed, fixed, nb::arg(), fixed, nb::arg());
    m.def(gradient,
          [](Pointers indptr, Indices indices, Vector<Real> there, Vector<Real> back, Rows<Real> u, double tau,
             Vector<Real> slope, Array<Real, 2> to, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(contrast).*Backward)(strengths(indptr, indices, there, back), points(u, tau), slope.data(),
                                                    to.data(), threads);
          },
          fixed, fixed, fixed, fixed, fixed, nb::arg(), fixed, fixed, nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::sums_float32, &Table::gradient_float32, float>(m, "sums_float32", "gradient_float32");
    define<&Table::sums_float64, &Table::gradient_float64, double>(m, "sums_float64", "gradient_float64");
    m.attr("lanes") = lanes;
}

} // namespace gossamer::contrast
