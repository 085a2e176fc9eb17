#include "../dispatch/bind.hpp"
#include "relax.hpp"

#include <optional>
#include <string>

#include <nanobind/stl/optional.h>

namespace gossamer::relax {
namespace {

using In = Array<const double, 1>;
using Out = Array<double, 1>;
using Levels = std::optional<Array<const std::int64_t, 1>>;
template <class Index>
using Indices = Array<const Index, 1>;

template <class Index>
Csr<Index> csr(Indices<Index> indptr, Indices<Index> indices, Indices<Index> middle, In data, Levels levels) {
    return {static_cast<std::int64_t>(indptr.shape(0)) - 1, indptr.data(), indices.data(), middle.data(), data.data(),
            levels ? levels->data() : nullptr, levels ? static_cast<std::int64_t>(levels->shape(0)) - 1 : 0};
}

Grid grid(std::int64_t nx, std::int64_t ny, std::int64_t nz, double diagonal, double x, double y, double z,
          bool checkerboard) {
    return {nx, ny, nz, diagonal, {x, y, z}, checkerboard};
}

Regression regression(Array<double, 2>& theta, Array<double, 3>& gram, Array<double, 2>& moment, Out& square, Out& bound,
                      Array<std::uint8_t, 1>& held, Out& kept) {
    return {static_cast<std::int64_t>(theta.shape(0)), static_cast<std::int64_t>(theta.shape(1)), theta.data(),
            gram.data(), moment.data(), square.data(), bound.data(), held.data(), kept.data()};
}

nb::object as_tuple(const Outcome& outcome) {
    return nb::make_tuple(outcome.steps, static_cast<int>(outcome.end), outcome.curvature);
}

// Every entry takes what makes up the matrix first.
template <auto Entry, class Matrix, class... Parts>
void define(nb::module_& m, const std::string& kind, Matrix (*make)(Parts...)) {
    m.def(("residual_" + kind).c_str(), [make](Parts... parts, In b, In x, Out r, int threads) {
        const auto a = make(parts...);
        nb::gil_scoped_release release;
        return (GOSSAMER_SELECT(relax).*Entry).residual(a, b.data(), x.data(), r.data(), threads);
    });
    m.def(("sweep_" + kind).c_str(), [make](Parts... parts, In b, double omega, bool backward, Out x, int threads) {
        const auto a = make(parts...);
        nb::gil_scoped_release release;
        (GOSSAMER_SELECT(relax).*Entry).sweep(a, b.data(), omega, backward, x.data(), threads);
    });
    m.def(("apply_" + kind).c_str(), [make](Parts... parts, double omega, In r, Out z, int threads) {
        const auto a = make(parts...);
        nb::gil_scoped_release release;
        (GOSSAMER_SELECT(relax).*Entry).apply(a, omega, r.data(), z.data(), threads);
    });
    m.def(("sor_" + kind).c_str(), [make](Parts... parts, In b, double omega, bool recurrence, double goal,
                                          Out x, Out norms, int threads) {
        const auto a = make(parts...);
        const auto steps = static_cast<std::int64_t>(norms.shape(0));
        Outcome outcome;
        {
            nb::gil_scoped_release release;
            outcome = (GOSSAMER_SELECT(relax).*Entry)
                          .sor(a, b.data(), omega, recurrence, goal, steps, x.data(), norms.data(), threads);
        }
        return as_tuple(outcome);
    });
    m.def(("pcg_" + kind).c_str(), [make](Parts... parts, int form, double omega, double goal, Out x,
                                          Array<double, 2> vectors, Out rho, Out norms, int threads) {
        const auto a = make(parts...);
        const auto n = static_cast<std::int64_t>(vectors.shape(1)), steps = static_cast<std::int64_t>(norms.shape(0));
        double* of = vectors.data();
        const Search search{x.data(), of, of + n, of + 2 * n, of + 3 * n, rho.data()};
        Outcome outcome;
        {
            nb::gil_scoped_release release;
            outcome = (GOSSAMER_SELECT(relax).*Entry)
                          .pcg(a, static_cast<Form>(form), omega, goal, steps, search, norms.data(), threads);
        }
        return as_tuple(outcome);
    });
}

template <auto Entry, class Index>
void define_checks(nb::module_& m, const std::string& index) {
    m.def(("prepare_" + index).c_str(),
          [](Indices<Index> indptr, Indices<Index> indices, In data, Array<Index, 1> middle) {
              const auto a = csr<Index>(indptr, indices, indptr, data, {});
              int wrong = 0;
              const std::int64_t row = (GOSSAMER_SELECT(relax).*Entry).prepare(a, middle.data(), &wrong);
              return nb::make_tuple(row, wrong);
          });
    m.def(("asymmetry_" + index).c_str(), [](Indices<Index> indptr, Indices<Index> indices, In data) {
        const auto a = csr<Index>(indptr, indices, indptr, data, {});
        nb::gil_scoped_release release;
        return (GOSSAMER_SELECT(relax).*Entry).asymmetry(a);
    });
    m.def(("colour_" + index).c_str(),
          [](Indices<Index> indptr, Indices<Index> indices, Array<Index, 1> colours) {
              const Csr<Index> a{static_cast<std::int64_t>(colours.shape(0)), indptr.data(), indices.data(), nullptr,
                                 nullptr, nullptr, 0};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(relax).*Entry).colour(a, colours.data());
          });
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::csr32>(m, "int32", csr<std::int32_t>);
    define<&Table::csr64>(m, "int64", csr<std::int64_t>);
    define<&Table::grid>(m, "grid", grid);
    define_checks<&Table::checks32, std::int32_t>(m, "int32");
    define_checks<&Table::checks64, std::int64_t>(m, "int64");
    m.def("tsallis_law", [](In k, double eta, Out p) {
        GOSSAMER_SELECT(relax).learning.tsallis_law(k.data(), eta, static_cast<std::int64_t>(k.shape(0)), p.data());
    });
    m.attr("kept") = static_cast<int>(Regression::size);
    m.def("chebcb_law", [](Array<double, 2> theta, Array<double, 3> gram, Array<double, 2> moment, Out square, Out bound,
                           Array<std::uint8_t, 1> held, Out kept, double x, Out p, Out scores) {
        GOSSAMER_SELECT(relax).learning.chebcb_law(regression(theta, gram, moment, square, bound, held, kept), x,
                                                   p.data(), scores.data());
    });
    m.def("chebcb_learn", [](Array<double, 2> theta, Array<double, 3> gram, Array<double, 2> moment, Out square,
                             Out bound, Array<std::uint8_t, 1> held, Out kept, double x, std::int64_t index, double cost,
                             double score) {
        GOSSAMER_SELECT(relax).learning.chebcb_learn(regression(theta, gram, moment, square, bound, held, kept), x,
                                                     index, cost, score);
    });
    m.def("draw", [](In p, double u) { // the first i for which the sum of p up to i is more than u times that of all
        double total = 0, climb = 0;
        const auto count = static_cast<std::int64_t>(p.shape(0));
        for (std::int64_t i = 0; i < count; ++i) total += p.data()[i];
        std::int64_t i = 0;
        for (; i + 1 < count; ++i)
            if ((climb += p.data()[i]) > u * total) break;
        return i;
    });
    m.def("least_squares", [](Array<const double, 2> gram, In y, In bound, Out x) {
        const auto size = static_cast<std::int64_t>(x.shape(0));
        return GOSSAMER_SELECT(relax).learning.least_squares(gram.data(), y.data(), bound.data(), size, x.data());
    });
}

} // namespace gossamer::relax
