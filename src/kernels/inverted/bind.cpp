#include "../dispatch/bind.hpp"
#include "inverted.hpp"

#include <string>

namespace gossamer::inverted {
namespace {

template <class Scalar>
using Line = Array<const Scalar, 1>;
using Seeds = Array<const float, 2>;

template <auto Member, class Weight>
void bind_entry(nb::module_& m, const std::string& name) {
    const auto fixed = nb::arg().noconvert();
    m.def(("search_" + name).c_str(),
          [](std::int64_t documents, std::int64_t block, Line<std::int64_t> start, Line<std::uint16_t> document,
             Line<Weight> weight, Line<float> scale, Line<std::int64_t> block_start, Line<std::uint16_t> block_last,
             Line<float> block_most, Seeds seed, Line<std::int64_t> row, Line<std::int32_t> token, Line<float> factor,
             int method, std::int64_t first, Array<std::int64_t, 2> items, Array<std::int64_t, 1> held, int threads) {
              const Segment<Weight> segment{documents, static_cast<std::int64_t>(scale.shape(0)), block, start.data(),
                                            document.data(), weight.data(), scale.data(), block_start.data(),
                                            block_last.data(), block_most.data(), seed.data()};
              const Queries queries{static_cast<std::int64_t>(row.shape(0)) - 1, row.data(), token.data(), factor.data()};
              const Best best{static_cast<std::int64_t>(items.shape(1)), items.data(), held.data()};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(inverted).*Member)
                  .search(segment, queries, static_cast<Method>(method), first, best, threads);
          },
          nb::arg(), nb::arg(), fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, fixed, nb::arg(),
          nb::arg(), fixed, fixed, nb::arg());
    m.def(("bound_" + name).c_str(),
          [](std::int64_t block, Line<std::int64_t> start, Line<std::uint16_t> document, Line<Weight> weight,
             Line<std::int64_t> block_start, Array<std::uint16_t, 1> block_last, Array<float, 1> block_most,
             Array<float, 2> seed) {
              const Segment<Weight> postings{0, static_cast<std::int64_t>(start.shape(0)) - 1, block, start.data(),
                                             document.data(), weight.data(), nullptr, block_start.data(), nullptr, nullptr,
                                             nullptr};
              nb::gil_scoped_release release;
              (GOSSAMER_SELECT(inverted).*Member).bound(postings, block_last.data(), block_most.data(), seed.data());
          },
          nb::arg(), fixed, fixed, fixed, fixed, fixed, fixed, fixed);
}

} // namespace

void bind(nb::module_& m) {
    bind_entry<&Table::float32, float>(m, "float32");
    bind_entry<&Table::float16, std::uint16_t>(m, "float16");
    bind_entry<&Table::uint8, std::uint8_t>(m, "uint8");
    const auto fixed = nb::arg().noconvert();
    m.def("invert",
          [](Line<std::int64_t> row, Line<std::int32_t> token, Line<float> weight, Array<std::int64_t, 1> start,
             Array<std::uint16_t, 1> document, Array<float, 1> value, Array<float, 1> largest) {
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(inverted).invert(static_cast<std::int64_t>(row.shape(0)) - 1,
                                               static_cast<std::int64_t>(largest.shape(0)), row.data(), token.data(),
                                               weight.data(), start.data(), document.data(), value.data(), largest.data());
          },
          fixed, fixed, fixed, fixed, fixed, fixed, fixed);
    m.def("finish",
          [](Array<std::int64_t, 2> items, Array<std::int64_t, 1> held, Array<std::int64_t, 2> id, Array<float, 2> score) {
              const Best best{static_cast<std::int64_t>(items.shape(1)), items.data(), held.data()};
              nb::gil_scoped_release release;
              GOSSAMER_SELECT(inverted).finish(static_cast<std::int64_t>(items.shape(0)), best, id.data(), score.data());
          },
          fixed, fixed, fixed, fixed);
    m.attr("most_documents") = most_documents;
}

} // namespace gossamer::inverted
