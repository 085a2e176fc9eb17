#include "../dispatch/bind.hpp"
#include "monarch.hpp"

#include <nanobind/stl/vector.h>

namespace gossamer::monarch {
namespace {

using Places = Array<const std::int32_t, 1>;

struct BoundStage {
    Stage view;
    nb::object weights, target; // keeps both alive
};

template <class Scalar>
BoundStage stage(Array<const Scalar, 3> weights, Places target, bool transposed) {
    const auto blocks = static_cast<std::int64_t>(weights.shape(0)), rows = static_cast<std::int64_t>(weights.shape(1)),
               cols = static_cast<std::int64_t>(weights.shape(2));
    const Stage view{weights.data(), sizeof(Scalar) == 2, blocks, transposed ? cols : rows, transposed ? rows : cols,
                     rows * cols, transposed ? 1 : cols, transposed ? cols : 1, target.data()};
    return {view, nb::cast(weights), nb::cast(target)};
}

template <auto Entry, class Real>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](const std::vector<BoundStage*>& bound, Places place, Array<const Real, 2> x, bool x_by_token,
             Array<const Real, 1> bias, Array<Real, 2> y, bool y_by_token, int threads) {
              std::vector<Stage> stages;
              for (const BoundStage* each : bound) stages.push_back(each->view);
              const auto size = [](const auto& a, int axis) { return static_cast<std::int64_t>(a.shape(axis)); };
              const Operand<const Real> from{x.data(), size(x, x_by_token), size(x, !x_by_token), x_by_token};
              const Operand<Real> to{y.data(), size(y, y_by_token), size(y, !y_by_token), y_by_token};
              const Chain chain{stages.data(), static_cast<int>(stages.size()), place.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(monarch).*Entry)(chain, from, bias.is_valid() ? bias.data() : nullptr, to, threads);
          },
          nb::arg(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg().noconvert().none(),
          nb::arg().noconvert(), nb::arg(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    nb::class_<BoundStage>(m, "Stage");
    m.def("stage", &stage<float>, nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def("stage", &stage<double>, nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.def("stage", &stage<std::uint16_t>, nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    define<&Table::float32, float>(m, "float32");
    define<&Table::float64, double>(m, "float64");
    m.attr("entries") = nb::make_tuple("float32", "float64");
}

} // namespace gossamer::monarch
