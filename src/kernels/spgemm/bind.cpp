#include "../dispatch/bind.hpp"
#include "../dispatch/parallel.hpp"
#include "spgemm.hpp"

#include <nanobind/stl/string.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace gossamer::spgemm {
namespace {

using Longs = Array<std::int64_t, 1>;
using Bytes = Array<std::uint8_t, 1>;

template <class Index>
const Passes<Index>& passes() {
    if constexpr (sizeof(Index) == 4)
        return GOSSAMER_SELECT(spgemm).int32;
    else
        return GOSSAMER_SELECT(spgemm).int64;
}

// The views of one product, kept alive by the Python object that made it.
template <class Index>
class Product {
public:
    using Indices = Array<const Index, 1>;

    Product(Indices a_ptr, Indices a_col, Indices b_ptr, Indices b_col, std::int64_t cols, nb::object mask_ptr,
            nb::object mask_col, bool complement, int threads)
        : keep_{nb::cast(a_ptr), nb::cast(a_col), nb::cast(b_ptr), nb::cast(b_col), mask_ptr, mask_col} {
        job_.rows = static_cast<std::int64_t>(a_ptr.shape(0)) - 1;
        job_.inner = static_cast<std::int64_t>(b_ptr.shape(0)) - 1;
        job_.cols = cols;
        job_.a_ptr = a_ptr.data(), job_.a_col = a_col.data();
        job_.b_ptr = b_ptr.data(), job_.b_col = b_col.data();
        if (!mask_ptr.is_none()) {
            job_.mask_ptr = nb::cast<Indices>(mask_ptr).data();
            job_.mask_col = nb::cast<Indices>(mask_col).data();
        }
        job_.complement = complement;
        job_.threads = threads;
        first_.reset(new std::int64_t[static_cast<std::size_t>(job_.inner) + 1]);
        last_.reset(new std::int64_t[static_cast<std::size_t>(job_.inner) + 1]);
        job_.first = first_.get(), job_.last = last_.get();
        nb::gil_scoped_release release;
        job_.b_sorted = passes<Index>().inspect(job_);
    }

    bool sorted() const { return job_.b_sorted; }

    void analyse(Longs fma, Longs low, Longs high, Longs bound, Bytes kind, int forced, bool atomic,
                 std::int64_t small_limit, std::int64_t dense_window, std::int64_t dense_ratio,
                 std::int64_t split_share, std::int64_t split_floor) {
        for (auto& array : {fma, low, high, bound}) keep_.push_back(nb::cast(array));
        keep_.push_back(nb::cast(kind));
        job_.fma = fma.data(), job_.low = low.data(), job_.high = high.data(), job_.bound = bound.data();
        job_.kind = kind.data();
        job_.forced = forced, job_.atomic = atomic;
        job_.small_limit = small_limit, job_.dense_window = dense_window, job_.dense_ratio = dense_ratio;
        job_.split_share = split_share, job_.split_floor = split_floor;
        job_.widest = job_.fullest = 0;
        nb::gil_scoped_release release;
        passes<Index>().analyse(job_);
    }

    void symbolic(Longs cuts, Longs count) {
        Job<Index> job = cut(cuts, count);
        nb::gil_scoped_release release;
        passes<Index>().symbolic(job);
    }

    void numeric(int operation, Longs cuts, Longs count, Longs c_ptr, Array<Index, 1> c_col, Array<std::uint8_t, 1> c_val,
                 Array<const std::uint8_t, 1> a_val, Array<const std::uint8_t, 1> b_val, bool sort) {
        Job<Index> job = cut(cuts, count);
        job.c_ptr = c_ptr.data(), job.c_col = c_col.data(), job.c_val = c_val.data();
        job.a_val = a_val.data(), job.b_val = b_val.data(), job.sort = sort;
        nb::gil_scoped_release release;
        passes<Index>().numeric[operation](job);
    }

    // One phase: tokens write to memory of their own; gather() moves it to the final arrays.
    void grow(int operation, Longs cuts, Longs count, Array<const std::uint8_t, 1> a_val,
              Array<const std::uint8_t, 1> b_val, bool sort) {
        Job<Index> job = cut(cuts, count);
        job.a_val = a_val.data(), job.b_val = b_val.data(), job.sort = sort;
        pieces_.clear();
        pieces_.resize(static_cast<std::size_t>(job.tokens));
        std::vector<Piece> raw(pieces_.size(), Piece{nullptr, nullptr});
        job.pieces = raw.data();
        {
            nb::gil_scoped_release release;
            passes<Index>().numeric[operation](job);
        }
        for (std::size_t i = 0; i < raw.size(); ++i) pieces_[i] = {Held(raw[i].indices), Held(raw[i].data)};
        if (job.failed) {
            pieces_.clear();
            throw std::bad_alloc();
        }
    }

    void gather(int operation, Longs cuts, Longs c_ptr, Array<Index, 1> c_col, Array<std::uint8_t, 1> c_val) {
        const std::int64_t bytes = value_bytes[operation], *cut = cuts.data(), *to = c_ptr.data();
        nb::gil_scoped_release release;
        parallel_chunks(static_cast<std::int64_t>(pieces_.size()), job_.threads, [&](std::int64_t token) {
            auto& piece = pieces_[static_cast<std::size_t>(token)];
            const std::int64_t at = to[cut[token]], n = to[cut[token + 1]] - at;
            if (n > 0) {
                std::memcpy(c_col.data() + at, piece.first.get(), static_cast<std::size_t>(n) * sizeof(Index));
                std::memcpy(c_val.data() + at * bytes, piece.second.get(), static_cast<std::size_t>(n * bytes));
            }
            piece.first.reset();
            piece.second.reset();
        });
        pieces_.clear();
    }

private:
    struct Free {
        void operator()(void* memory) const { std::free(memory); }
    };
    using Held = std::unique_ptr<void, Free>;

    Job<Index> cut(Longs cuts, Longs count) const {
        Job<Index> job = job_;
        job.cuts = cuts.data();
        job.tokens = static_cast<std::int64_t>(cuts.shape(0)) - 1;
        job.count = count.data();
        return job;
    }

    std::vector<nb::object> keep_;
    std::unique_ptr<std::int64_t[]> first_, last_;
    std::vector<std::pair<Held, Held>> pieces_;
    Job<Index> job_{};
};

template <class Index>
void define(nb::module_& m, const char* name) {
    using P = Product<Index>;
    nb::class_<P>(m, name)
        .def(nb::init<typename P::Indices, typename P::Indices, typename P::Indices, typename P::Indices, std::int64_t,
                      nb::object, nb::object, bool, int>(),
             nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none(), nb::arg(),
             nb::arg())
        .def_prop_ro("sorted", &P::sorted)
        .def("analyse", &P::analyse)
        .def("symbolic", &P::symbolic)
        .def("numeric", &P::numeric)
        .def("grow", &P::grow)
        .def("gather", &P::gather);
}

} // namespace

void bind(nb::module_& m) {
    define<std::int32_t>(m, "Product_int32");
    define<std::int64_t>(m, "Product_int64");
    nb::list operations_list;
    for (const char* name : names) operations_list.append(name);
    m.attr("operations") = nb::tuple(operations_list);
    m.attr("kinds") = nb::make_tuple("empty", "scale", "small", "merge", "dense", "hash", "hash-vector", "split");
}

} // namespace gossamer::spgemm
