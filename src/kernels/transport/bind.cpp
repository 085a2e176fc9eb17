#include "../dispatch/bind.hpp"
#include "transport.hpp"

#include <utility>

namespace gossamer::transport {
namespace {

using Doubles = Array<const double, 1>;
using Vector = Array<double, 1>;
using Matrix = Array<const double, 2>;
using Longs = Array<const std::int64_t, 1>;
using Ints = Array<const std::int32_t, 1>;

// A cost and the arrays that it looks at.
class HeldCost {
public:
    explicit HeldCost(Matrix c)
        : first_(std::move(c)), view_{size(first_, 0), size(first_, 1), 0, first_.data(), nullptr, nullptr, Metric::stored, 1} {}
    HeldCost(Matrix x, Matrix y, int metric)
        : first_(std::move(x)), second_(std::move(y)),
          view_{size(first_, 0), size(second_, 1), size(first_, 1), nullptr, first_.data(), second_.data(),
                static_cast<Metric>(metric), 1} {}

    Cost at(double eta) const {
        Cost cost = view_;
        cost.eta = eta;
        return cost;
    }

    static std::int64_t size(const Matrix& a, int axis) { return static_cast<std::int64_t>(a.shape(static_cast<std::size_t>(axis))); }

private:
    Matrix first_, second_;
    Cost view_;
};

template <class T>
nb::ndarray<nb::numpy, T, nb::ndim<1>> own(std::vector<T>&& values) {
    auto* held = new std::vector<T>(std::move(values));
    const nb::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return {held->data(), {held->size()}, owner};
}

nb::tuple arrays(Selected&& s) {
    return nb::make_tuple(own(std::move(s.row_start)), own(std::move(s.column)), own(std::move(s.by_row)),
                          own(std::move(s.column_start)), own(std::move(s.row)), own(std::move(s.by_column)));
}

using Stored = nb::object; // (n, m) array or None

Plan plan_of(const HeldCost& cost, double eta, const Doubles& u, const Doubles& v, const Stored& p) {
    return {p.is_none() ? nullptr : nb::cast<Matrix>(p).data(), cost.at(eta), u.data(), v.data()};
}

double log_step(const HeldCost& cost, double eta, Doubles u, Doubles v, Doubles r, Doubles c, Vector u_new, Vector v_new,
                int threads) {
    nb::gil_scoped_release release;
    return GOSSAMER_SELECT(transport).log_step(cost.at(eta), u.data(), v.data(), r.data(), c.data(), u_new.data(),
                                               v_new.data(), threads);
}

double plan(const HeldCost& cost, double eta, Doubles u, Doubles v, Stored p, Vector row_sums, Vector column_sums, int threads) {
    double* to = p.is_none() ? nullptr : nb::cast<Array<double, 2>>(p).data();
    nb::gil_scoped_release release;
    return GOSSAMER_SELECT(transport).plan(cost.at(eta), u.data(), v.data(), to, row_sums.data(), column_sums.data(), threads);
}

double inner(const HeldCost& cost, double eta, Doubles u, Doubles v, int threads) {
    nb::gil_scoped_release release;
    return GOSSAMER_SELECT(transport).inner(cost.at(eta), u.data(), v.data(), threads);
}

double scale(Matrix k, Doubles a, Doubles b, Doubles r, Doubles c, Vector a_new, Vector b_new, int threads) {
    const std::int64_t n = HeldCost::size(k, 0), m = HeldCost::size(k, 1);
    nb::gil_scoped_release release;
    return GOSSAMER_SELECT(transport).scale(k.data(), n, m, a.data(), b.data(), r.data(), c.data(), a_new.data(),
                                            b_new.data(), threads);
}

nb::tuple select_largest(const HeldCost& cost, double eta, Doubles u, Doubles v, Stored p, double top, std::int64_t least,
                         std::int64_t most, double budget, int threads) {
    const Plan view = plan_of(cost, eta, u, v, p);
    Selected out;
    {
        nb::gil_scoped_release release;
        out = select(GOSSAMER_SELECT(transport), view, top, least, most, budget, threads);
    }
    return arrays(std::move(out));
}

nb::tuple select_above(const HeldCost& cost, double eta, Doubles u, Doubles v, Stored p, double threshold, int threads) {
    const Plan view = plan_of(cost, eta, u, v, p);
    Selected out;
    {
        nb::gil_scoped_release release;
        out = above(GOSSAMER_SELECT(transport), view, threshold, threads);
    }
    return arrays(std::move(out));
}

nb::tuple schur_cg(Longs row_start, Ints column, Doubles by_row, Longs column_start, Ints row, Doubles by_column,
                   Doubles row_sums, Doubles column_sums, Doubles b, Vector z, double rtol, std::int64_t maxiter, int threads) {
    const Hessian h{static_cast<std::int64_t>(row_sums.shape(0)), static_cast<std::int64_t>(column_sums.shape(0)),
                    row_start.data(), column.data(), by_row.data(), column_start.data(), row.data(), by_column.data(),
                    row_sums.data(), column_sums.data()};
    Solved solved;
    {
        nb::gil_scoped_release release;
        solved = GOSSAMER_SELECT(transport).schur_cg(h, b.data(), z.data(), rtol, maxiter, threads);
    }
    return nb::make_tuple(solved.iterations, solved.residual);
}

} // namespace

void bind(nb::module_& m) {
    nb::class_<HeldCost>(m, "Cost")
        .def(nb::init<Matrix>(), nb::arg().noconvert())
        .def(nb::init<Matrix, Matrix, int>(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def("log_step", log_step);
    m.def("plan", plan, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg(), nb::arg());
    m.def("inner", inner);
    m.def("scale", scale);
    m.def("select", select_largest, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg(),
          nb::arg(), nb::arg(), nb::arg());
    m.def("above", select_above, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg());
    m.def("schur_cg", schur_cg);
}

} // namespace gossamer::transport
