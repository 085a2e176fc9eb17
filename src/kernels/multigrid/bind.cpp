#include "../dispatch/bind.hpp"
#include "multigrid.hpp"

#include <string>

namespace gossamer::multigrid {
namespace {

using In = Array<const double, 1>;
using Out = Array<double, 1>;
template <class Index>
using Indices = Array<const Index, 1>;

template <class Index>
Csr<Index> csr(const Indices<Index>& indptr, const Indices<Index>& indices, const Indices<Index>& middle, const In& data) {
    return {static_cast<std::int64_t>(middle.shape(0)), indptr.data(), indices.data(), middle.data(), data.data(),
            nullptr, 0};
}

template <class T>
nb::ndarray<nb::numpy, T, nb::ndim<1>> own(std::vector<T>&& values) {
    auto* held = new std::vector<T>(std::move(values));
    const nb::capsule owner(held, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
    return {held->data(), {held->size()}, owner};
}

// Every entry takes the matrix first: indptr, indices, middle, data.
template <auto Member, class Index>
void define(nb::module_& m, const std::string& type) {
    using I = Indices<Index>;
    m.def(("descend_" + type).c_str(), [](I indptr, I indices, I middle, In data, In b, bool zero, Out x, Out r) {
        const auto a = csr<Index>(indptr, indices, middle, data);
        nb::gil_scoped_release release;
        (GOSSAMER_SELECT(multigrid).*Member).descend(a, b.data(), zero, x.data(), r.data());
    });
    m.def(("ascend_" + type).c_str(), [](I indptr, I indices, I middle, In data, In b, Out x) {
        const auto a = csr<Index>(indptr, indices, middle, data);
        nb::gil_scoped_release release;
        (GOSSAMER_SELECT(multigrid).*Member).ascend(a, b.data(), x.data());
    });
    m.def(("compatibility_" + type).c_str(), [](I indptr, I indices, I middle, In data, In w, Out weight) {
        const auto a = csr<Index>(indptr, indices, middle, data);
        nb::gil_scoped_release release;
        return compatibility(a, w.data(), weight.data());
    });
    m.def(("match_" + type).c_str(), [](I indptr, I indices, I middle, In data, In weight, Array<Index, 1> mate) {
        const auto a = csr<Index>(indptr, indices, middle, data);
        nb::gil_scoped_release release;
        match(a, weight.data(), mate.data());
    });
    m.def(("galerkin_" + type).c_str(), [](I indptr, I indices, I middle, In data, I group, In p, std::int64_t groups) {
        const auto a = csr<Index>(indptr, indices, middle, data);
        Coarse<Index> coarse;
        {
            nb::gil_scoped_release release;
            coarse = galerkin(a, group.data(), p.data(), groups);
        }
        return nb::make_tuple(own(std::move(coarse.indptr)), own(std::move(coarse.indices)), own(std::move(coarse.data)));
    });
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::csr32, std::int32_t>(m, "int32");
    define<&Table::csr64, std::int64_t>(m, "int64");
}

} // namespace gossamer::multigrid
