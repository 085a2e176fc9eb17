#include "../dispatch/bind.hpp"
#include "maxsim.hpp"

#include <optional>

#include <nanobind/stl/optional.h>

namespace gossamer::maxsim {
namespace {

using Longs = Array<const std::int64_t, 1>;
using Floats = Array<const float, 1>;
using Rows = Array<const float, 2>;
using Halves = Array<const std::uint16_t, 2>;
template <class T>
using Maybe = std::optional<T>;

template <class Owner>
auto pointer(const Maybe<Owner>& array) { return array ? array->data() : nullptr; }

template <class Vectors>
Sets sets(const Vectors& vectors, const Longs& offsets, Stored stored) {
    return {vectors.data(), stored, offsets.data(), static_cast<std::int64_t>(offsets.shape(0)) - 1,
            static_cast<std::int64_t>(vectors.shape(1))};
}

template <class Vectors>
void bind_type(nb::module_& m, const char* encode, const char* chamfer, Stored stored) {
    const auto fixed = nb::arg().noconvert();
    const auto maybe = nb::arg().noconvert().none();
    m.def(encode,
          [=](Vectors vectors, Longs offsets, std::int64_t reps, std::int64_t bits, std::int64_t width, Rows directions,
              Floats thresholds, Maybe<Array<const float, 3>> projection, Maybe<Array<const std::int32_t, 1>> places,
              bool mean, bool fill, Array<float, 2> out, int threads) {
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(maxsim).encode(sets(vectors, offsets, stored),
                                             {reps, bits, width, directions.data(), thresholds.data(), pointer(projection),
                                              pointer(places), static_cast<std::int64_t>(out.shape(1)), mean, fill},
                                             out.data(), threads);
          },
          fixed, fixed, nb::arg(), nb::arg(), nb::arg(), fixed, fixed, maybe, maybe, nb::arg(), nb::arg(), fixed, nb::arg());
    m.def(chamfer,
          [=](Rows queries, Longs query_offsets, Vectors documents, Longs offsets, Longs query, Longs first, Longs last,
              Longs pairs, Array<float, 1> out, int threads) {
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(maxsim).chamfer(sets(queries, query_offsets, Stored::float32), sets(documents, offsets, stored),
                                              {query.data(), first.data(), last.data(),
                                               static_cast<std::int64_t>(query.shape(0)), pairs.data()},
                                              out.data(), threads);
          },
          fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, nb::arg());
}

} // namespace

void bind(nb::module_& m) {
    bind_type<Rows>(m, "encode_float32", "chamfer_float32", Stored::float32);
    bind_type<Halves>(m, "encode_float16", "chamfer_float16", Stored::float16);
    bind_type<Halves>(m, "encode_bfloat16", "chamfer_bfloat16", Stored::bfloat16);
}

} // namespace gossamer::maxsim
