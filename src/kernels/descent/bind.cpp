#include "../dispatch/bind.hpp"
#include "descent.hpp"
#include "graph.hpp"

#include <string>

namespace gossamer::descent {
namespace {

using Ids = Array<const std::int64_t, 1>;
using Doubles = Array<const double, 1>;
using Output = Array<double, 1>;

std::int64_t size(const auto& array) { return static_cast<std::int64_t>(array.shape(0)); }

template <class Value, class Index>
Lines<Value, Index> lines(const Array<const Index, 1>& start, const Array<const Index, 1>& index,
                          const Array<const Value, 1>& value, std::int64_t width) {
    return {size(start) - 1, width, start.data(), index.data(), value.data()};
}

// An empty array of ids and a count: all lines.
Chosen chosen(const Ids& ids, bool all, std::int64_t count) { return {all ? nullptr : ids.data(), count}; }

template <auto Entry, class Value, class Index>
void bind_lines(nb::module_& m, const std::string& name) {
    using Starts = Array<const Index, 1>;
    using Values = Array<const Value, 1>;
    const auto fixed = nb::arg().noconvert();
    m.def(("dots_" + name).c_str(),
          [](Starts start, Starts index, Values value, Ids ids, bool all, Doubles w, Output out, int threads) {
              const auto a = lines(start, index, value, size(w));
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(descent).*Entry).dots(a, chosen(ids, all, size(out)), w.data(), out.data(), threads);
          },
          fixed, fixed, fixed, fixed, nb::arg(), fixed, fixed, nb::arg());
    m.def(("scatter_" + name).c_str(),
          [](Starts start, Starts index, Values value, Ids ids, bool all, Doubles d, Output z) {
              const auto a = lines(start, index, value, size(z));
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(descent).*Entry).scatter(a, chosen(ids, all, size(d)), d.data(), z.data());
          },
          fixed, fixed, fixed, fixed, nb::arg(), fixed, fixed);
    m.def(("gram_" + name).c_str(),
          [](Starts start, Starts index, Values value, Ids ids, std::int64_t width, Doubles weight,
             Array<double, 2> out, int threads) {
              const auto a = lines(start, index, value, width);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(descent).*Entry)
                  .gram(a, {ids.data(), size(ids)}, size(weight) ? weight.data() : nullptr, out.data(), threads);
          },
          fixed, fixed, fixed, fixed, nb::arg(), fixed, fixed, nb::arg());
    m.def(("row_sums_" + name).c_str(),
          [](Starts start, Starts index, Values value, Starts row_start, Starts row_index, Values row_value, Ids ids,
             Output out, int threads) {
              const auto a = lines(start, index, value, size(row_start) - 1);
              const auto rows = lines(row_start, row_index, row_value, a.lines);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(descent).*Entry).row_sums(a, rows, {ids.data(), size(ids)}, out.data(), threads);
          },
          fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, nb::arg());
}

template <class Index>
void bind_graph(nb::module_& m, const std::string& name) {
    using Starts = Array<const Index, 1>;
    const auto fixed = nb::arg().noconvert();
    const auto view = [](const Starts& start, const Starts& index) {
        return Graph<Index>{size(start) - 1, start.data(), index.data()};
    };
    m.def(("greedy_forest_" + name).c_str(),
          [view](Starts start, Starts index, Doubles score, Array<std::int64_t, 1> out) {
              nb::gil_scoped_release release;
              return greedy_forest(view(start, index), score.data(), out.data());
          },
          fixed, fixed, fixed, fixed);
    m.def(("forests_" + name).c_str(),
          [view](Starts start, Starts index, Ids order, Array<std::int64_t, 1> label) {
              nb::gil_scoped_release release;
              return forests(view(start, index), order.data(), label.data());
          },
          fixed, fixed, fixed, fixed);
    m.def(("colours_" + name).c_str(),
          [view](Starts start, Starts index, Ids order, Array<std::int64_t, 1> label) {
              nb::gil_scoped_release release;
              return colours(view(start, index), order.data(), label.data());
          },
          fixed, fixed, fixed, fixed);
    m.def(("eliminate_" + name).c_str(),
          [view](Starts start, Starts index, Doubles value, Ids nodes, Doubles rhs, Output x,
                 Array<std::int64_t, 1> place) {
              std::int64_t where = -1;
              Elimination outcome;
              {
                  nb::gil_scoped_release release;
                  outcome = eliminate(view(start, index), value.data(), nodes.data(), size(nodes), rhs.data(), x.data(),
                                      place.data(), where);
              }
              return nb::make_tuple(static_cast<int>(outcome), where);
          },
          fixed, fixed, fixed, fixed, fixed, fixed, fixed);
}

} // namespace

void bind(nb::module_& m) {
    bind_lines<&Table::float32_int32, float, std::int32_t>(m, "float32_int32");
    bind_lines<&Table::float32_int64, float, std::int64_t>(m, "float32_int64");
    bind_lines<&Table::float64_int32, double, std::int32_t>(m, "float64_int32");
    bind_lines<&Table::float64_int64, double, std::int64_t>(m, "float64_int64");
    bind_graph<std::int32_t>(m, "int32");
    bind_graph<std::int64_t>(m, "int64");
    const auto fixed = nb::arg().noconvert();
    m.def("coordinates",
          [](Array<const double, 2> hessian, Doubles lam, Doubles low, Doubles high, Output x, Output gradient,
             std::int64_t sweeps, double tol) {
              const Quadratic q{size(x), hessian.data(), lam.data(), low.data(), high.data()};
              nb::gil_scoped_release release;
              return GOSSAMER_SELECT(descent).coordinates(q, x.data(), gradient.data(), sweeps, tol);
          },
          fixed, fixed, fixed, fixed, fixed, fixed, nb::arg(), nb::arg());
    m.def("largest",
          [](Doubles score, Array<std::int64_t, 1> out) {
              nb::gil_scoped_release release;
              largest(score.data(), size(score), size(out), out.data());
          },
          fixed, fixed);
}

} // namespace gossamer::descent
