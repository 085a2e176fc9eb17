#include "../dispatch/bind.hpp"
#include "../dispatch/parallel.hpp"
#include "spgemm.hpp"

#include <nanobind/stl/string.h>

#include <memory>
#include <vector>

namespace gossamer::spgemm {
namespace {

using Longs = Array<std::int64_t, 1>;
using Bytes = Array<std::uint8_t, 1>;

template <class Index>
const Passes<Index>& passes() {
    if constexpr (sizeof(Index) == 4)
        return GOSSAMER_SELECT(spgemm);
    else
        return wide_table;
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

    Product(const Product&) = delete;
    Product& operator=(const Product&) = delete;

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

    // `where` says where rows of C begin, or with `by_token` the sums of bounds up to each token.
    void numeric(int operation, Longs cuts, Longs count, Longs where, bool by_token, Array<Index, 1> c_col,
                 Bytes c_val, Array<const std::uint8_t, 1> a_val, Array<const std::uint8_t, 1> b_val, bool sort) {
        Job<Index> job = cut(cuts, count);
        (by_token ? job.starts : job.c_ptr) = where.data();
        job.c_col = c_col.data(), job.c_val = c_val.data();
        job.a_val = a_val.data(), job.b_val = b_val.data(), job.sort = sort;
        nb::gil_scoped_release release;
        passes<Index>().numeric[operation](job);
    }

private:
    Job<Index> cut(Longs cuts, Longs count) const {
        Job<Index> job = job_;
        job.cuts = cuts.data();
        job.tokens = static_cast<std::int64_t>(cuts.shape(0)) - 1;
        job.count = count.data();
        return job;
    }

    std::vector<nb::object> keep_;
    std::unique_ptr<std::int64_t[]> first_, last_;
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
        .def("numeric", &P::numeric);
}

// Whether pointers rise from 0 to the number of columns, and columns lie within 0..cols - 1.
template <class Index>
bool walkable(Array<const Index, 1> ptr, Array<const Index, 1> col, std::int64_t cols, int threads) {
    const auto rows = static_cast<std::int64_t>(ptr.shape(0)) - 1, entries = static_cast<std::int64_t>(col.shape(0));
    if (rows < 0 || ptr.data()[0] != 0 || ptr.data()[rows] != entries) return false;
    constexpr std::int64_t piece = 1 << 16;
    bool good = true;
    nb::gil_scoped_release release;
    const auto over = [&](std::int64_t count, const auto& fine) {
        parallel_chunks(ceil_div(count, piece), worthwhile_threads(count, threads), [&](std::int64_t chunk) {
            if (!fine(chunk * piece, least(count, (chunk + 1) * piece))) __atomic_store_n(&good, false, __ATOMIC_RELAXED);
        });
    };
    over(rows, [p = ptr.data()](std::int64_t from, std::int64_t to) {
        bool falls = false;
        for (std::int64_t i = from; i < to; ++i) falls |= p[i + 1] < p[i];
        return !falls;
    });
    over(entries, [c = col.data(), cols](std::int64_t from, std::int64_t to) {
        Index low = 0, high = 0;
        for (std::int64_t i = from; i < to; ++i) low = least(low, c[i]), high = most(high, c[i]);
        return low >= 0 && (to == from || high < cols);
    });
    return good;
}

} // namespace

void bind(nb::module_& m) {
    define<std::int32_t>(m, "Product_int32");
    define<std::int64_t>(m, "Product_int64");
    m.def("walkable", walkable<std::int32_t>);
    m.def("walkable", walkable<std::int64_t>);
    nb::list operations_list;
    for (const char* name : names) operations_list.append(name);
    m.attr("operations") = nb::tuple(operations_list);
    m.attr("kinds") = nb::make_tuple("empty", "scale", "repeat", "small", "merge", "dense", "hash", "hash-vector", "split");
}

} // namespace gossamer::spgemm
