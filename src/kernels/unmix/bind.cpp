#include "../dispatch/bind.hpp"
#include "unmix.hpp"

#include <string>

namespace gossamer::unmix {
namespace {

template <class Real>
using Strided = nb::ndarray<const Real, nb::numpy, nb::ndim<2>, nb::device::cpu>;

template <auto Entry, class Real>
void sweep(nb::module_& m, const std::string& name) {
    m.def(("sweep_" + name).c_str(),
          [](Strided<Real> x, Array<const std::uint8_t, 1> live, double scale, Array<const Real, 2> weighted,
             Array<const Real, 2> plain, Array<const Real, 2> gram, Array<const Real, 1> h, double lam, double xi, double square,
             double floor, int steps, bool measure, Array<Real, 2> a, Array<double, 2> back, Array<double, 2> second, Array<double, 1> squares,
             Array<double, 1> terms, int threads) {
              const Pixels<Real> pixels{static_cast<std::int64_t>(x.shape(0)), static_cast<std::int64_t>(x.shape(1)),
                                        x.data(), x.stride(0), x.stride(1), live.is_valid() ? live.data() : nullptr,
                                        static_cast<Real>(scale)};
              const Spectra<Real> spectra{static_cast<std::int64_t>(gram.shape(0)), weighted.data(), plain.data(), gram.data()};
              const Terms<Real> rest{h.data(), static_cast<Real>(lam), static_cast<Real>(xi), static_cast<Real>(square),
                                     static_cast<Real>(floor), steps, measure};
              const Sums sums{back.data(), second.data(), squares.data(), terms.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(unmix).*Entry)(pixels, spectra, rest, a.data(), sums, threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert().none(), nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
          nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    sweep<&Table::sweep32, float>(m, "float32");
    sweep<&Table::sweep64, double>(m, "float64");
    m.def("nonnegative",
          [](Array<const double, 2> gram, Array<const double, 2> sides, Array<double, 2> a, int threads) {
              const auto K = static_cast<std::int64_t>(gram.shape(0)), N = static_cast<std::int64_t>(sides.shape(0));
              nb::gil_scoped_release release;
              return GOSSAMER_SELECT(unmix).nonnegative(gram.data(), K, sides.data(), N, a.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
}

} // namespace gossamer::unmix
