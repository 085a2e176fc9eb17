#include "../dispatch/bind.hpp"
#include "fisher.hpp"

#include <string>

namespace gossamer::fisher {
namespace {

template <class Value, class Stored>
Rows<Value> rows(const Array<Stored, 2>& g) {
    return {static_cast<std::int64_t>(g.shape(0)), static_cast<std::int64_t>(g.shape(1)),
            reinterpret_cast<const Value*>(g.data())};
}

using Doubles = Array<const double, 1>;
using Output = Array<double, 1>;

template <auto Entry, auto Project, auto Combine, class Value, class Stored, class Vector>
void passes(nb::module_& m, const std::string& name) {
    m.def(("project_" + name).c_str(),
          [](Array<const Stored, 2> g, Array<const Vector, 1> x, Output t, int threads) {
              const auto view = rows<Value>(g);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(fisher).*Entry.*Project)(view, x.data(), t.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def(("combine_" + name).c_str(),
          [](Array<const Stored, 2> g, Doubles c, Array<const Vector, 1> x, double alpha, Array<Vector, 1> y,
             int threads) {
              const auto view = rows<Value>(g);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(fisher).*Entry.*Combine)(view, c.data(), x.data(), alpha, y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg().noconvert(),
          nb::arg());
}

template <auto Entry, class Value, class Stored>
void both_passes(nb::module_& m, const std::string& name) {
    using P = Passes<Value>;
    passes<Entry, &P::project32, &P::combine32, Value, Stored, float>(m, name);
    passes<Entry, &P::project64, &P::combine64, Value, Stored, double>(m, name);
}

template <auto Entry, class Value>
void blocks(nb::module_& m, const std::string& name) {
    m.def(("blocks_factor_" + name).c_str(),
          [](Array<const Value, 2> g, std::int64_t block, double damp, Array<Value, 2> w, int threads) {
              const auto view = rows<Value>(g);
              nb::gil_scoped_release release;
              return (GOSSAMER_SELECT(fisher).*Entry).factor(view, block, damp, w.data(), threads);
          },
          nb::arg().noconvert(), nb::arg(), nb::arg(), nb::arg().noconvert(), nb::arg());
    m.def(("blocks_multiply_" + name).c_str(),
          [](Array<const Value, 2> w, std::int64_t block, double damp, Doubles x, Output y, int threads) {
              const auto view = rows<Value>(w);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(fisher).*Entry).multiply(view, block, damp, x.data(), y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg(), nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def(("gram_" + name).c_str(),
          [](Array<const Value, 2> g, Array<double, 2> out, int threads) {
              const auto view = rows<Value>(g);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(fisher).*Entry).gram(view, out.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def(("columns_dot_" + name).c_str(),
          [](Array<const Value, 2> w, std::int64_t a, std::int64_t b) {
              return (GOSSAMER_SELECT(fisher).*Entry).columns_dot(rows<Value>(w), a, b);
          },
          nb::arg().noconvert(), nb::arg(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    both_passes<&Table::float32, float, float>(m, "float32");
    both_passes<&Table::float64, double, double>(m, "float64");
    both_passes<&Table::bfloat16_, bfloat16, std::uint16_t>(m, "uint16");
    blocks<&Table::blocks32, float>(m, "float32");
    blocks<&Table::blocks64, double>(m, "float64");
    m.def("replace",
          [](Array<double, 2> upper, std::int64_t r, Output row) {
              const auto size = static_cast<std::int64_t>(upper.shape(0));
              nb::gil_scoped_release release;
              return GOSSAMER_SELECT(fisher).replace(upper.data(), size, r, row.data());
          },
          nb::arg().noconvert(), nb::arg(), nb::arg().noconvert());
    m.def("solve",
          [](Array<const double, 2> upper, Output t) {
              GOSSAMER_SELECT(fisher).solve(upper.data(), static_cast<std::int64_t>(upper.shape(0)), t.data());
          },
          nb::arg().noconvert(), nb::arg().noconvert());
    m.def("copy_row",
          [](Array<const float, 1> g, Array<float, 1> row, int threads) {
              const auto count = static_cast<std::int64_t>(g.shape(0));
              return GOSSAMER_SELECT(fisher).copy_row(g.data(), count, row.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def("round_row",
          [](Array<const float, 1> g, Array<std::uint16_t, 1> row, Array<float, 1> held, int threads) {
              const auto count = static_cast<std::int64_t>(g.shape(0));
              auto* bits = reinterpret_cast<bfloat16*>(row.data());
              return GOSSAMER_SELECT(fisher).round_row(g.data(), count, bits, held.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
}

} // namespace gossamer::fisher
