#include "../dispatch/bind.hpp"
#include "completion.hpp"

#include <string>

namespace gossamer::completion {
namespace {

std::int64_t size(const auto& array) { return static_cast<std::int64_t>(array.shape(0)); }

template <auto Entry, class Real, class Index>
void bind_entry(nb::module_& m, const std::string& name) {
    using Ids = Array<const std::int64_t, 1>;
    using Places = Array<const Index, 1>;
    using Matrix = Array<const Real, 2>;
    const auto fixed = nb::arg().noconvert();
    m.def(("regress_" + name).c_str(),
          [](Ids start, Places index, Array<const Real, 1> value, Matrix factor, Array<const double, 1> ridge,
             Matrix preconditioner, Ids ids, int method, double rtol, double reduction, std::int64_t steps,
             std::uint64_t seed, Array<Real, 2> x, Array<std::int64_t, 1> taken, Array<double, 1> loss, int threads) {
              const Observed<Real, Index> a{size(start) - 1, start.data(), index.data(), value.data()};
              const Problem<Real> p{static_cast<std::int64_t>(factor.shape(1)),
                                    factor.data(),
                                    ridge.data(),
                                    size(preconditioner) ? preconditioner.data() : nullptr,
                                    ids.data(),
                                    size(ids)};
              const Options options{static_cast<Method>(method), rtol, reduction, steps, seed};
              const Answer<Real> answer{x.data(), taken.data(), size(loss) ? loss.data() : nullptr};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(completion).*Entry).regress(a, p, options, answer, threads);
          },
          fixed, fixed, fixed, fixed, fixed, fixed, fixed, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), fixed,
          fixed, fixed, nb::arg());
    m.def(("dots_" + name).c_str(),
          [](Matrix u, Matrix v, Places rows, Places columns, Array<Real, 1> out, int threads) {
              const auto rank = static_cast<std::int64_t>(u.shape(1));
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(completion).*Entry)
                  .dots(u.data(), v.data(), rank, rows.data(), columns.data(), size(rows), out.data(), threads);
          },
          fixed, fixed, fixed, fixed, fixed, nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    bind_entry<&Table::float32_int32, float, std::int32_t>(m, "float32_int32");
    bind_entry<&Table::float32_int64, float, std::int64_t>(m, "float32_int64");
    bind_entry<&Table::float64_int32, double, std::int32_t>(m, "float64_int32");
    bind_entry<&Table::float64_int64, double, std::int64_t>(m, "float64_int64");
}

} // namespace gossamer::completion
