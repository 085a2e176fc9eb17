#include "../dispatch/bind.hpp"
#include "topk.hpp"

#include <string>

namespace gossamer::topk {
namespace {

template <class Real>
Lines<Real> lines(const Array<std::int32_t, 1>& index, const Array<Real, 1>& value, const Array<std::int64_t, 1>& held) {
    return {index.data(), value.data(), held.data()};
}

template <auto Member, class Real>
void bind_entry(nb::module_& m, const std::string& name) {
    using Matrix = Array<const Real, 2>;
    using Places = Array<std::int32_t, 1>;
    using Values = Array<Real, 1>;
    using Counts = Array<std::int64_t, 1>;
    using Starts = Array<const std::int64_t, 1>;
    const auto fixed = nb::arg().noconvert();
    const auto rows_of = [](const Matrix& z) { return static_cast<std::int64_t>(z.shape(0)); };
    const auto width = [](const Matrix& z) { return static_cast<std::int64_t>(z.shape(1)); };
    m.def(("rows_" + name).c_str(),
          [=](Matrix z, std::int64_t k, Places index, Values value, Counts held, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(topk).*Member).rows(z.data(), rows_of(z), width(z), k, lines(index, value, held), threads);
          },
          fixed, nb::arg(), fixed, fixed, fixed, nb::arg());
    m.def(("columns_" + name).c_str(),
          [=](Matrix z, Starts room, Places index, Values value, Counts held, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(topk).*Member)
                  .columns(z.data(), rows_of(z), width(z), room.data(), lines(index, value, held), threads);
          },
          fixed, fixed, fixed, fixed, fixed, nb::arg());
    m.def(("scored_" + name).c_str(),
          [=](Matrix z, Matrix slope, std::int64_t k, double base, double weight, double scale, double clip, bool against,
              Places index, Values value, Counts held, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(topk).*Member)
                  .scored(z.data(), slope.data(), rows_of(z), width(z), k, {base, weight, scale, clip, against},
                          lines(index, value, held), threads);
          },
          fixed, fixed, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), fixed, fixed, fixed, nb::arg());
    m.def(("count_above_" + name).c_str(),
          [=](Matrix z, Array<const Real, 1> bound, Counts held, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(topk).*Member).count_above(z.data(), rows_of(z), width(z), bound.data(), held.data(), threads);
          },
          fixed, fixed, fixed, nb::arg());
    m.def(("fill_above_" + name).c_str(),
          [=](Matrix z, Array<const Real, 1> bound, Starts start, Places index, Values value, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(topk).*Member)
                  .fill_above(z.data(), rows_of(z), width(z), bound.data(), start.data(), index.data(), value.data(), threads);
          },
          fixed, fixed, fixed, fixed, fixed, nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    bind_entry<&Table::float32, float>(m, "float32");
    bind_entry<&Table::float64, double>(m, "float64");
}

} // namespace gossamer::topk
