#include "../dispatch/bind.hpp"
#include "gaunt.hpp"

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <vector>

namespace gossamer::gaunt {
namespace {

template <class Real>
using In1 = Array<const Real, 1>;
template <class Real>
using In2 = Array<const Real, 2>;
using Pointers = Array<const std::int64_t, 1>;
using Indices = Array<const std::int32_t, 1>;

template <class Real>
Rows<Real> rows_of(const In2<Real>& x, std::int64_t repeats) {
    return {x.data(), static_cast<std::int64_t>(x.shape(0)), repeats, static_cast<std::int64_t>(x.shape(1))};
}

int degree_of(std::int64_t width) {
    int degree = 0;
    while (harmonics(degree) < width) ++degree;
    return degree;
}

template <class Real>
Linear<Real> linear(const Pointers& pointers, const Indices& columns, const In1<Real>& values) {
    return {static_cast<std::int64_t>(pointers.shape(0)) - 1, pointers.data(), columns.data(), values.data()};
}

template <auto Member, class Real>
void define(nb::module_& m, const std::string& name) {
    m.def(("grid_" + name).c_str(),
          [](std::vector<In2<Real>> factors, std::vector<std::int64_t> repeats, std::vector<int> powers,
             std::vector<In2<Real>> tables, In2<Real> out_table, In2<Real> cosine, In2<Real> sine, Array<Real, 2> out,
             int threads) {
              Grid<Real> grid{};
              grid.factors = static_cast<int>(factors.size());
              for (int f = 0; f < grid.factors; ++f) {
                  const auto rows = rows_of(factors[f], repeats[f]);
                  grid.factor[f] = {rows, degree_of(rows.width), powers[f], tables[f].data()};
              }
              grid.degree = degree_of(static_cast<std::int64_t>(out.shape(1)));
              grid.table = out_table.data();
              grid.pairs = static_cast<int>(out_table.shape(1));
              grid.quarter = static_cast<int>(cosine.shape(1));
              grid.cosine = cosine.data();
              grid.sine = sine.data();
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(gaunt).*Member).grid(grid, static_cast<std::int64_t>(out.shape(0)), out.data(), threads);
          });
    m.def(("bilinear_" + name).c_str(),
          [](In2<Real> x, std::int64_t x_repeats, In2<Real> y, std::int64_t y_repeats, Pointers xp, Indices xc,
             In1<Real> xv, Pointers yp, Indices yc, In1<Real> yv, Indices left, Indices right, Pointers pointers,
             Indices out_index, In1<Real> values, std::int64_t size, Pointers zp, Indices zc, In1<Real> zv,
             Array<Real, 2> out, int threads) {
              const Bilinear<Real> all{rows_of(x, x_repeats), rows_of(y, y_repeats), linear<Real>(xp, xc, xv),
                                       linear<Real>(yp, yc, yv), linear<Real>(zp, zc, zv),
                                       static_cast<std::int64_t>(left.shape(0)), size, left.data(), right.data(),
                                       pointers.data(), out_index.data(), values.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(gaunt).*Member).bilinear(all, static_cast<std::int64_t>(out.shape(0)), out.data(), threads);
          });
    m.def(("aligned_" + name).c_str(),
          [](In2<Real> x, In2<Real> filter, In2<Real> turns, std::int64_t channels, In2<Real> table,
             In2<Real> filter_table, In2<Real> out_table, Pointers pointers, Indices columns, In1<Real> values,
             Array<Real, 2> out, int threads) {
              const auto rows = rows_of(x, 1);
              const Aligned<Real> all{rows, rows_of(filter, 1), rows_of(turns, channels), degree_of(rows.width),
                                      static_cast<int>(filter.shape(1)) - 1,
                                      degree_of(static_cast<std::int64_t>(out.shape(1))), table.data(),
                                      filter_table.data(), out_table.data(), static_cast<int>(table.shape(1)),
                                      linear<Real>(pointers, columns, values), {}};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(gaunt).*Member).aligned(all, static_cast<std::int64_t>(out.shape(0)), out.data(), threads);
          });
    m.def(("aligned_filter_" + name).c_str(),
          [](In2<Real> x, In2<Real> other, In2<Real> turns, std::int64_t channels, In2<Real> table,
             In2<Real> filter_table, In2<Real> out_table, Pointers pointers, Indices columns, In1<Real> values,
             Array<Real, 2> out, int threads) {
              const auto rows = rows_of(x, 1), slope = rows_of(other, 1);
              const Aligned<Real> all{rows, {}, rows_of(turns, channels), degree_of(rows.width),
                                      static_cast<int>(out.shape(1)) - 1, degree_of(slope.width), table.data(),
                                      filter_table.data(), out_table.data(), static_cast<int>(table.shape(1)),
                                      linear<Real>(pointers, columns, values), slope};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(gaunt).*Member).aligned_filter(all, static_cast<std::int64_t>(out.shape(0)), out.data(), threads);
          });
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
}

} // namespace gossamer::gaunt
