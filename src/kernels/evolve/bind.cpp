#include "../dispatch/bind.hpp"
#include "evolve.hpp"

#include <string>

namespace gossamer::evolve {
namespace {

using Ids = Array<const std::int64_t, 1>;
using Indices = Array<const std::int32_t, 1>;
using Flags = Array<std::uint8_t, 1>;

std::int64_t size(const auto& array, int axis = 0) { return static_cast<std::int64_t>(array.shape(axis)); }

template <auto Member, class Real>
void define(nb::module_& m, const std::string& type) {
    using Line = Array<Real, 1>;
    using FixedLine = Array<const Real, 1>;
    using Plane = Array<Real, 2>;
    using FixedPlane = Array<const Real, 2>;
    const auto fixed = nb::arg().noconvert();
    m.def(("noise_" + type).c_str(),
          [](FixedPlane clean, Ids ids, std::uint64_t seed, double sd, Plane out, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(evolve).*Member)
                  .noise(clean.data(), size(clean), size(clean, 1), ids.data(), seed, static_cast<Real>(sd), out.data(), threads);
          },
          fixed, fixed, nb::arg(), nb::arg(), fixed, nb::arg());
    m.def(("activate_" + type).c_str(),
          [](Plane z, FixedLine bias, int kind, double slope, std::uint64_t seed, std::uint64_t below, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(evolve).*Member)
                  .activate(z.data(), bias.data(), size(z), size(z, 1), {static_cast<Activation>(kind), slope, {seed, below}}, threads);
          },
          fixed, fixed, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg());
    m.def(("derive_" + type).c_str(),
          [](Plane d, FixedPlane a, int kind, double slope, std::uint64_t seed, std::uint64_t below, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(evolve).*Member)
                  .derive(d.data(), a.data(), size(d), size(d, 1), {static_cast<Activation>(kind), slope, {seed, below}}, threads);
          },
          fixed, fixed, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg());
    m.def(("update_" + type).c_str(),
          [](Indices start, Indices input, Line value, Line velocity, Line bias, Line bias_velocity, FixedPlane u,
              FixedPlane d, double rate, double momentum, double decay, int threads) {
              const Layer<Real> layer{size(bias), start.data(), input.data(), value.data(), velocity.data(), bias.data(),
                                      bias_velocity.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(evolve).*Member).update(layer, u.data(), d.data(), size(d, 1), {rate, momentum, decay}, threads);
          },
          fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, nb::arg(), nb::arg(), nb::arg(), nb::arg());
    m.def(("prune_" + type).c_str(),
          [](FixedLine value, double share, Flags keep) {
              nb::gil_scoped_release release;
              return prune(value.data(), size(value), share, keep.data());
          },
          fixed, nb::arg(), fixed);
    m.def(("regrow_" + type).c_str(),
          [](Array<std::int32_t, 1> start, Array<std::int32_t, 1> column, Line value, Line velocity, std::int64_t columns,
             Flags keep, Ids ranks, FixedLine values, Array<std::int32_t, 1> new_start, Array<std::int32_t, 1> new_column,
             Line new_value, Line new_velocity) {
              const std::int64_t rows = size(start) - 1;
              const Entries<Real> old{rows, columns, start.data(), column.data(), value.data(), velocity.data()};
              const Entries<Real> out{rows, columns, new_start.data(), new_column.data(), new_value.data(), new_velocity.data()};
              nb::gil_scoped_release release;
              regrow(old, keep.data(), ranks.data(), values.data(), size(ranks), out);
          },
          fixed, fixed, fixed, fixed, nb::arg(), fixed, fixed, fixed, fixed, fixed, fixed, fixed);
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    m.def("transpose",
          [](Indices start, Indices column, std::int64_t columns, Array<std::int32_t, 1> twin_start,
             Array<std::int32_t, 1> twin_row, Array<std::int32_t, 1> source) {
              nb::gil_scoped_release release;
              transpose(start.data(), column.data(), size(start) - 1, columns, twin_start.data(), twin_row.data(), source.data());
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert());
}

} // namespace gossamer::evolve
