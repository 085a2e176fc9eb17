#include "../dispatch/bind.hpp"
#include "../lowrank/bound.hpp"
#include "gqs.hpp"
#include "tasks.hpp"

#include <nanobind/stl/vector.h>

namespace gossamer::gqs {
namespace {

using Halves = Array<const std::uint16_t, 1>;
using Nibbles = Array<const std::uint8_t, 1>;

template <auto Entry, class Real>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Array<const std::int32_t, 1> row_ptr, Array<const std::uint16_t, 1> column,
             Array<const std::uint8_t, 2> codes, Halves scale, Nibbles integer_zero, Halves float_zero,
             Array<const Real, 2> x, Array<Real, 2> y, int bits, std::int64_t group, bool by_task, int threads,
             const lowrank::BoundFactor* left, const lowrank::BoundFactor* right) {
              const Matrix a{static_cast<std::int64_t>(y.shape(0)), static_cast<std::int64_t>(x.shape(0)),
                             row_ptr.data(), column.data(),
                             {bits, group, static_cast<std::int64_t>(column.shape(0)), codes.data(), scale.data(),
                              integer_zero.is_valid() ? integer_zero.data() : nullptr,
                              float_zero.is_valid() ? float_zero.data() : nullptr}};
              const auto term = lowrank::term(left, right);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT_DOT(gqs).*Entry)(a, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(),
                                            term ? &*term : nullptr, by_task, threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert().none(), nb::arg().noconvert().none(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none());
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    define<&Table::int8, float>(m, "int8");
    m.def("task_cuts", [](Array<const std::int32_t, 1> row_ptr, std::int64_t group) { // for the benchmark of the schedule
        if (row_ptr.shape(0) < 1 || group < 1) throw nb::value_error("row_ptr has no entries or group is not positive");
        const auto rows = static_cast<std::int64_t>(row_ptr.shape(0)) - 1;
        Matrix a{};
        a.rows = rows, a.row_ptr = row_ptr.data(), a.groups.group = group, a.groups.count = row_ptr.data()[rows];
        std::vector<std::int64_t> cuts;
        const std::int64_t tasks = count_tasks(a);
        for (std::int64_t task = 0; task < tasks; ++task) cuts.push_back(first_group(a, task, tasks));
        cuts.push_back(a.groups.count);
        return cuts;
    });
    m.attr("entries") = nb::make_tuple("float32", "float64", "int8");
}

} // namespace gossamer::gqs
