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

template <auto Entry, class Value, class Stored>
void passes(nb::module_& m, const std::string& name) {
    m.def(("project_" + name).c_str(),
          [](Array<const Stored, 2> g, Doubles x, Output t, int threads) {
              const auto view = rows<Value>(g);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(fisher).*Entry).project(view, x.data(), t.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def(("combine_" + name).c_str(),
          [](Array<const Stored, 2> g, Doubles c, Doubles x, double alpha, Output y, int threads) {
              const auto view = rows<Value>(g);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(fisher).*Entry).combine(view, c.data(), x.data(), alpha, y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg().noconvert(),
          nb::arg());
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
}

} // namespace

void bind(nb::module_& m) {
    passes<&Table::float32, float, float>(m, "float32");
    passes<&Table::float64, double, double>(m, "float64");
    passes<&Table::bfloat16_, bfloat16, std::uint16_t>(m, "uint16");
    blocks<&Table::blocks32, float>(m, "float32");
    blocks<&Table::blocks64, double>(m, "float64");
    m.def("replace",
          [](Array<double, 2> upper, std::int64_t r, Output row) {
              const auto size = static_cast<std::int64_t>(upper.shape(0));
              nb::gil_scoped_release release;
              return GOSSAMER_SELECT(fisher).replace(upper.data(), size, r, row.data());
          },
          nb::arg().noconvert(), nb::arg(), nb::arg().noconvert());
}

} // namespace gossamer::fisher
