#include "../dispatch/bind.hpp"
#include "coding.hpp"

namespace gossamer::coding {
namespace {

using Vector = Array<const double, 1>;
using Matrix = Array<const double, 2>;
using Output = Array<double, 2>;
using Totals = Array<double, 1>;
using Chosen = Array<const std::int32_t, 2>;

std::int64_t size(const auto& array, std::size_t axis) { return static_cast<std::int64_t>(array.shape(axis)); }

States states(const Chosen& chosen, const auto& rows, std::int64_t latents, std::int64_t active, std::int64_t values) {
    return {size(chosen, 0), latents, size(chosen, 1), active, values, size(rows, 1), chosen.data()};
}

Linear linear(const Vector& value, const Vector& prior, const Matrix& field, const Matrix& gram) {
    return {value.data(), prior.data(), field.data(), gram.data()};
}

Maximum maximum(const Matrix& power, const Matrix& slope, const Vector& scale, const Matrix& data, double exponent,
                double prior, double precision) {
    return {size(power, 1), power.data(), slope.data(), scale.data(), data.data(), exponent, prior, precision};
}

Gaussian gaussian(double beta, const Vector& prior, const Vector& mean, const Matrix& slab, const Matrix& field,
                  const Matrix& gram) {
    return {beta, prior.data(), mean.data(), slab.data(), size(slab, 0) == 1, field.data(), gram.data()};
}

} // namespace

void bind(nb::module_& m) {
    m.def("largest", [](Matrix scores, Array<std::int32_t, 2> chosen, int threads) {
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).largest(scores.data(), size(scores, 0), size(scores, 1), size(chosen, 1), chosen.data(),
                                        threads);
    });
    m.def("normalise", [](Output joint, Totals evidence, int threads) {
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).normalise(joint.data(), size(joint, 0), size(joint, 1), evidence.data(), threads);
    });
    m.def("excess", [](Matrix data, Matrix W, Output score, int threads) {
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).excess(data.data(), W.data(), size(data, 0), size(W, 0), size(W, 1), score.data(), threads);
    });
    m.def("linear_joint", [](Chosen chosen, std::int64_t active, Vector value, Vector prior, Matrix field, Matrix gram,
                             Output joint, int threads) {
        const auto s = states(chosen, joint, size(gram, 0), active, size(value, 0));
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).linear_joint(s, linear(value, prior, field, gram), joint.data(), threads);
    });
    m.def("linear_moments", [](Chosen chosen, std::int64_t active, Vector value, Matrix posterior, Output mean,
                               Output second, Totals count, int threads) {
        const auto s = states(chosen, posterior, size(second, 0), active, size(value, 0));
        const Linear values{value.data(), nullptr, nullptr, nullptr};
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).linear_moments(s, values, posterior.data(), {mean.data(), second.data(), count.data()},
                                               threads);
    });
    m.def("maximum_joint", [](Chosen chosen, std::int64_t active, Matrix power, Matrix slope, Vector scale, Matrix data,
                              double exponent, double prior, double precision, Output joint, int threads) {
        const auto s = states(chosen, joint, size(power, 0), active, 1);
        const auto a = maximum(power, slope, scale, data, exponent, prior, precision);
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).maximum_joint(s, a, joint.data(), threads);
    });
    m.def("maximum_mean", [](Chosen chosen, std::int64_t active, Matrix power, Matrix slope, Vector scale, Matrix data,
                             double exponent, Matrix posterior, Output out, int threads) {
        const auto s = states(chosen, posterior, size(power, 0), active, 1);
        const auto a = maximum(power, slope, scale, data, exponent, 0, 0);
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).maximum_mean(s, a, posterior.data(), out.data(), threads);
    });
    m.def("maximum_residual", [](Chosen chosen, std::int64_t active, Matrix power, Matrix slope, Vector scale, Matrix data,
                                 double exponent, Matrix posterior, Totals out, int threads) {
        const auto s = states(chosen, posterior, size(power, 0), active, 1);
        const auto a = maximum(power, slope, scale, data, exponent, 0, 0);
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).maximum_residual(s, a, posterior.data(), out.data(), threads);
    });
    m.def("maximum_moments", [](Chosen chosen, std::int64_t active, Matrix power, Matrix slope, Vector scale, Matrix data,
                                double exponent, Matrix posterior, Output weight, Output weighted, int threads) {
        const auto s = states(chosen, posterior, size(power, 0), active, 1);
        const auto a = maximum(power, slope, scale, data, exponent, 0, 0);
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).maximum_moments(s, a, posterior.data(), {weight.data(), weighted.data()}, threads);
    });
    m.def("gaussian_joint", [](Chosen chosen, std::int64_t active, double beta, Vector prior, Vector mean, Matrix slab,
                               Matrix field, Matrix gram, Output joint, int threads) {
        const auto s = states(chosen, joint, size(gram, 0), active, 1);
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).gaussian_joint(s, gaussian(beta, prior, mean, slab, field, gram), joint.data(), threads);
    });
    m.def("gaussian_moments", [](Chosen chosen, std::int64_t active, Vector prior, Vector mean, Matrix slab, Matrix field,
                                 Matrix gram, Matrix posterior, Output first, Output present, Output second, Output cross,
                                 Output pairs, int threads) {
        const auto s = states(chosen, posterior, size(gram, 0), active, 1);
        const GaussianMoments out{first.data(), present.data(), second.data(), cross.data(), pairs.data()};
        nb::gil_scoped_release release;
        GOSSAMER_SELECT(coding).gaussian_moments(s, gaussian(1, prior, mean, slab, field, gram), posterior.data(), out,
                                                 threads);
    });
}

} // namespace gossamer::coding
