#include "../dispatch/bind.hpp"
#include "sparse.hpp"
#include "walsh.hpp"

#include <nanobind/stl/vector.h>

namespace gossamer::walsh {
namespace {

template <auto Entry, class Real, class Held = Real>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Array<const Real, 1> from, Array<Real, 1> to, std::int64_t outer, int levels, std::int64_t inner,
             Real scale, int threads) {
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(walsh).*Entry)(reinterpret_cast<const Held*>(from.data()),
                                              reinterpret_cast<Held*>(to.data()), {outer, levels, inner},
                                              static_cast<Held>(scale), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg());
}

Sketch sketch(int n, Array<const Word, 2> columns, Array<const Word, 2> shifts, Array<double, 3> bins) {
    return {n, static_cast<int>(columns.shape(1)), static_cast<int>(columns.shape(0)), static_cast<int>(shifts.shape(1)),
            columns.data(), shifts.data(), bins.data()};
}

nb::tuple run_peel(int n, Array<const Word, 2> columns, Array<const Word, 2> shifts, Array<double, 3> bins, int detector,
                   int rows, int bch_bits, bool soft, int order, int max_degree, double empty, double single,
                   double floor, bool average, int threads) {
    Peeled out;
    {
        nb::gil_scoped_release release;
        out = peel(sketch(n, columns, shifts, bins), {static_cast<Detector>(detector), rows, bch_bits, soft, order,
                                                      max_degree, empty, single, floor, average, threads});
    }
    std::vector<Word> support;
    std::vector<double> values;
    for (const Term& term : out.terms) {
        support.push_back(term.k);
        values.push_back(term.value);
    }
    return nb::make_tuple(support, values, out.rounds);
}

void run_subtract(int n, Array<const Word, 2> columns, Array<const Word, 2> shifts, Array<double, 3> bins,
                  Array<const Word, 1> support, Array<const double, 1> values, int threads) {
    std::vector<Term> terms;
    for (std::size_t i = 0; i < support.shape(0); ++i) terms.push_back({support.data()[i], values.data()[i]});
    nb::gil_scoped_release release;
    subtract(sketch(n, columns, shifts, bins), terms.data(), static_cast<std::int64_t>(terms.size()), threads);
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    define<&Table::int32, std::int32_t, std::uint32_t>(m, "int32");
    define<&Table::int64, std::int64_t, std::uint64_t>(m, "int64");
    m.def("peel", run_peel);
    m.def("subtract", run_subtract);
    m.def("decode_bch", [](int field_bits, int errors, Word syndrome, int length) {
        Word k = 0;
        return decode_bch(field_bits, errors, syndrome, length, k) ? nb::cast(k) : nb::none();
    });
}

} // namespace gossamer::walsh
