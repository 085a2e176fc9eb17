#include "../dispatch/bind.hpp"
#include "tensor_attention.hpp"

#include <optional>
#include <string>

#include <nanobind/stl/optional.h>

namespace gossamer::tensor_attention {
namespace {

using Limits = std::optional<Array<const std::int64_t, 1>>;
using Mask = std::optional<Array<const std::uint8_t, 3>>;

template <class Real>
using In = Array<const Real, 3>;

template <class Real>
Problem<Real> problem(const In<Real>& q, const In<Real>& k1, const In<Real>& k2, const In<Real>& v1, const In<Real>& v2,
                      const Limits& limit1, const Limits& limit2, const Mask& mask) {
    const auto size = [](const auto& array, int axis) { return static_cast<std::int64_t>(array.shape(axis)); };
    return {size(q, 0), size(q, 1), size(k1, 1), size(k2, 1), size(q, 2), size(v1, 2),
            q.data(), k1.data(), k2.data(), v1.data(), v2.data(),
            limit1 ? limit1->data() : nullptr, limit2 ? limit2->data() : nullptr, mask ? mask->data() : nullptr,
            mask && size(*mask, 0) > 1 ? size(*mask, 1) * size(*mask, 2) : 0};
}

template <auto Entry, class Real>
void bind_real(nb::module_& m, const std::string& name) {
    using Out3 = Array<Real, 3>;
    using Out2 = Array<Real, 2>;
    m.def(("forward_" + name).c_str(),
          [](In<Real> q, In<Real> k1, In<Real> k2, In<Real> v1, In<Real> v2, Limits limit1, Limits limit2, Mask mask,
             Out3 out, Out2 lse, int threads) {
              const auto a = problem<Real>(q, k1, k2, v1, v2, limit1, limit2, mask);
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(tensor_attention).*Entry).forward(a, out.data(), lse.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg());
    m.def(("backward_" + name).c_str(),
          [](In<Real> q, In<Real> k1, In<Real> k2, In<Real> v1, In<Real> v2, Limits limit1, Limits limit2, Mask mask,
             Array<const Real, 2> lse, In<Real> dout, Array<const Real, 2> delta, Out3 dq, Out3 dk1, Out3 dk2, Out3 dv1,
             Out3 dv2, int threads) {
              const auto a = problem<Real>(q, k1, k2, v1, v2, limit1, limit2, mask);
              const Slopes<Real> slopes{dq.data(), dk1.data(), dk2.data(), dv1.data(), dv2.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(tensor_attention).*Entry)
                  .backward(a, lse.data(), dout.data(), delta.data(), slopes, threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg().none(), nb::arg().none(), nb::arg().none(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    bind_real<&Table::float32, float>(m, "float32");
    bind_real<&Table::float64, double>(m, "float64");
}

} // namespace gossamer::tensor_attention
