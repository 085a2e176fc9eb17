#include "../dispatch/bind.hpp"
#include "elliptic.hpp"

#include <string>

namespace gossamer::elliptic {
namespace {

std::int64_t size(const auto& array) { return static_cast<std::int64_t>(array.shape(0)); }

template <auto Entry, class Index>
void bind_lower(nb::module_& m, const std::string& name) {
    using Places = Array<const Index, 1>;
    const auto fixed = nb::arg().noconvert();
    m.def(("factor_" + name).c_str(),
          [](Places indptr, Places indices, Array<double, 1> data, double modified, double shift) {
              const Lower<Index> a{size(indptr) - 1, indptr.data(), indices.data(), data.data()};
              nb::gil_scoped_release release;
              return (GOSSAMER_SELECT(elliptic).*Entry).factor(a, modified, shift);
          },
          fixed, fixed, fixed, nb::arg(), nb::arg());
    m.def(("solve_" + name).c_str(),
          [](Places indptr, Places indices, Array<double, 1> data, Array<const double, 1> r, Array<double, 1> z) {
              const Lower<Index> l{size(indptr) - 1, indptr.data(), indices.data(), data.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(elliptic).*Entry).solve(l, r.data(), z.data());
          },
          fixed, fixed, fixed, fixed, fixed);
}

} // namespace

void bind(nb::module_& m) {
    bind_lower<&Table::lower32, std::int32_t>(m, "int32");
    bind_lower<&Table::lower64, std::int64_t>(m, "int64");
    const auto fixed = nb::arg().noconvert();
    m.def(
        "star",
        [](Array<const double, 1> diagonal, Array<const double, 2> weight, std::int64_t s0, std::int64_t s1,
           std::int64_t s2, Array<const double, 2> x, Array<double, 2> y, int threads) {
            const Star star{size(diagonal), size(weight), {s0, s1, s2}, diagonal.data(), weight.data()};
            nb::gil_scoped_release release;
            GOSSAMER_SELECT(elliptic).star(star, x.data(), size(x), y.data(), threads);
        },
        fixed, fixed, nb::arg(), nb::arg(), nb::arg(), fixed, fixed, nb::arg());
}

} // namespace gossamer::elliptic
