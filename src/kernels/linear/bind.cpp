#include "../dispatch/bind.hpp"
#include "handle.hpp"
#include "one_product.hpp"

#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <unistd.h>

#include <nanobind/stl/optional.h>

namespace gossamer::linear {
namespace {

using Shared = std::shared_ptr<Handle>;

[[noreturn]] void refuse(const std::string& message) { throw std::invalid_argument(message); }

int dimension(const char* name, std::size_t value) {
    if (value < 1 || value > (1u << 24)) refuse(std::string(name) + "=" + std::to_string(value) + ": expected 1..2^24");
    return static_cast<int>(value);
}

Shared hold(Linear* linear) {
    auto handle = std::make_shared<Handle>();
    handle->linear.reset(linear);
    return handle;
}

template <class Scalar, auto Make>
Shared dense(Array<const Scalar, 2> weight) {
    const int rows = dimension("rows", weight.shape(0)), cols = dimension("columns", weight.shape(1));
    nb::gil_scoped_release release;
    return hold((table().*Make)(rows, cols, weight.data()));
}

struct Codes {
    Array<const std::uint8_t, 2> qweight; // flattened to (groups, bytes a group)
    Array<const std::uint16_t, 1> scale;  // float16 bits, one a group
    std::optional<Array<const std::uint8_t, 1>> zero_int;
    std::optional<Array<const std::uint16_t, 1>> zero_float;
};

GroupQuant checked(const Codes& codes, int rows, int cols, int bits, int group, std::size_t groups) {
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8) refuse("bits=" + std::to_string(bits) + ": expected 2, 3, 4 or 8");
    const bool one_a_row = group >= cols;
    if (group < 1 || (!one_a_row && group % 16)) refuse("group=" + std::to_string(group) + ": expected a multiple of 16");
    if (group > (1 << 24)) refuse("group=" + std::to_string(group) + ": expected at most 2^24");
    const std::size_t bytes = static_cast<std::size_t>(bits) * ((group + 7) / 8 * 8) / 8;
    const auto sized = [&](const char* name, std::size_t have, std::size_t want) {
        if (have != want)
            refuse(std::string(name) + " has " + std::to_string(have) + " entries: expected " + std::to_string(want));
    };
    sized("qweight groups", codes.qweight.shape(0), groups);
    sized("qweight bytes a group", codes.qweight.shape(1), bytes);
    sized("scale", codes.scale.shape(0), groups);
    if (codes.zero_int) sized("zero", codes.zero_int->shape(0), bits == 8 ? groups : (groups + 1) / 2);
    if (codes.zero_float) sized("zero", codes.zero_float->shape(0), groups);
    return {rows, cols, bits, group, codes.qweight.data(), codes.scale.data(),
            codes.zero_int ? codes.zero_int->data() : nullptr, codes.zero_float ? codes.zero_float->data() : nullptr};
}

Shared make_group_quant(const Codes& codes, std::size_t row_count, std::size_t col_count, int bits, int group) {
    const int rows = dimension("rows", row_count), cols = dimension("columns", col_count);
    if (group < 1) refuse("group=" + std::to_string(group) + ": expected a positive number");
    const std::size_t groups = row_count * ((col_count + group - 1) / group);
    const GroupQuant from = checked(codes, rows, cols, bits, group, groups);
    nb::gil_scoped_release release;
    return hold(table().group_quant(from));
}

Shared make_group_sparse(const Codes& codes, Array<const std::int32_t, 1> row_ptr, Array<const std::uint16_t, 1> col,
                         std::size_t col_count, int bits, int group) {
    const int cols = dimension("columns", col_count);
    if (row_ptr.shape(0) < 2) refuse("row_ptr has no rows");
    const int rows = dimension("rows", row_ptr.shape(0) - 1);
    if (cols > 65536) refuse("columns=" + std::to_string(cols) + ": group-sparse matrices have at most 65536");
    if (group % 16) refuse("group=" + std::to_string(group) + ": expected a multiple of 16");
    const std::size_t kept = col.shape(0);
    const GroupSparseQuant from{checked(codes, rows, cols, bits, group, kept), row_ptr.data(), col.data()};
    if (row_ptr.data()[0] != 0 || row_ptr.data()[rows] < 0 || static_cast<std::size_t>(row_ptr.data()[rows]) != kept)
        refuse("row_ptr must rise from 0 to the number of kept groups");
    for (int row = 0; row < rows; ++row) {
        const std::int32_t start = row_ptr.data()[row], end = row_ptr.data()[row + 1];
        if (end < start) refuse("row_ptr falls at row " + std::to_string(row));
        for (std::int32_t g = start; g < end; ++g)
            if (static_cast<std::size_t>(col.data()[g]) * group >= col_count || (g > start && col.data()[g] <= col.data()[g - 1]))
                refuse("col of row " + std::to_string(row) + " is not ascending within the matrix");
    }
    nb::gil_scoped_release release;
    return hold(table().group_sparse_quant(rows, cols, from));
}

template <class Scalar>
Shared make_nm(Array<const Scalar, 2> values, Array<const std::uint8_t, 2> positions, std::size_t col_count, int n, int m,
               NMEntries::Type type) {
    const int rows = dimension("rows", values.shape(0)), cols = dimension("columns", col_count);
    if (m < 1 || m > 4 || n < 1 || n > m) refuse(std::to_string(n) + ":" + std::to_string(m) + ": expected n <= m <= 4");
    const std::size_t groups = (col_count + m - 1) / m, kept = groups * n;
    if (values.shape(1) != kept) refuse("values has " + std::to_string(values.shape(1)) + " columns: expected " + std::to_string(kept));
    if (positions.shape(0) != values.shape(0) || positions.shape(1) != (kept + 3) / 4) refuse("positions do not fit values");
    for (std::size_t row = 0; row < values.shape(0); ++row)
        for (std::size_t k = 0; k < kept; ++k) {
            const auto at = [&](std::size_t i) { return positions.data()[row * positions.shape(1) + i / 4] >> (i % 4 * 2) & 3; };
            if (at(k) >= m || (k % n && at(k) <= at(k - 1)))
                refuse("positions of row " + std::to_string(row) + " do not ascend within groups of " + std::to_string(m));
        }
    nb::gil_scoped_release release;
    return hold(table().nm(rows, cols, {n, m, type, values.data(), positions.data()}));
}

Shared make_low_rank(Shared base, Shared left, Shared right) {
    const Linear &a = *base->linear, &l = *left->linear, &r = *right->linear;
    if (l.rows != a.rows || r.cols != a.cols || l.cols != r.rows)
        refuse("low rank: left and right do not fit the matrix that they are added to");
    if (a.right() || l.right() || r.right()) refuse("low rank: terms must be plain matrices");
    const Shared handle = hold(with_low_rank(&a, &l, &r));
    handle->parts = {base, left, right};
    return handle;
}

template <class Scalar>
Shared make_blocks(Array<const Scalar, 1> weight, Array<const std::int32_t, 1> start, Array<const std::int32_t, 1> depth,
                   std::size_t row_count, std::size_t col_count, int period, int tail) {
    const int rows = dimension("rows", row_count), cols = dimension("columns", col_count);
    if (period < 1 || period > 16 || 16 % period) refuse("period=" + std::to_string(period) + ": expected 1, 2, 4, 8 or 16");
    if (tail < 0 || tail > cols) refuse("tail=" + std::to_string(tail) + ": expected 0.." + std::to_string(cols));
    const std::size_t blocks = (row_count + 15) / 16;
    if (start.shape(0) != blocks || depth.shape(0) != blocks) refuse("start or depth: expected one a block of 16 rows");
    std::int64_t count = 0;
    for (std::size_t b = 0; b < blocks; ++b) {
        const std::int64_t from = start.data()[b], steps = depth.data()[b];
        if (from < 0 || steps < 0 || from + steps * period > cols - tail)
            refuse("block " + std::to_string(b) + " sees columns outside the matrix");
        count += 16 * (steps + tail);
    }
    if (static_cast<std::int64_t>(weight.shape(0)) != count)
        refuse("weight has " + std::to_string(weight.shape(0)) + " entries: expected " + std::to_string(count));
    nb::gil_scoped_release release;
    return hold(table().blocks(
        {rows, cols, period, tail, start.data(), depth.data(), weight.data(), count, sizeof(Scalar) == 2}));
}

Shared make_chain(Shared left, Shared right) {
    const Linear &l = *left->linear, &r = *right->linear;
    if (l.cols != r.rows) refuse("chain: left and right do not fit");
    if (l.right() || r.right()) refuse("chain: factors must be plain matrices");
    const Shared base = hold(nothing(l.rows, r.cols, "monarch"));
    const Shared handle = hold(with_low_rank(base->linear.get(), &l, &r));
    handle->parts = {base, left, right};
    return handle;
}

void matmat(const Handle& handle, Array<const float, 2> x, Array<float, 2> y, bool int8, int threads, bool tiled) {
    const Linear& a = *handle.linear;
    const std::size_t tokens = x.shape(0);
    if (x.shape(1) != static_cast<std::size_t>(a.cols) || y.shape(0) != tokens || y.shape(1) != static_cast<std::size_t>(a.rows))
        refuse("x or y does not fit the matrix");
    if (tokens == 0) return;
    if (tokens > 1024) refuse("tokens=" + std::to_string(tokens) + ": expected at most 1024 at a time");
    nb::gil_scoped_release release;
    ActivationBuffer buffer(static_cast<int>(tokens), a.cols, int8, tiled);
    for (int token = 0; token < static_cast<int>(tokens); ++token) {
        std::memcpy(buffer.x(token), x.data() + static_cast<std::int64_t>(token) * a.cols, sizeof(float) * a.cols);
        buffer.quantise(token);
    }
    for (int tile = 0; tile * tile_tokens < static_cast<int>(tokens); ++tile) buffer.pack(tile, static_cast<int>(tokens));
    const Activation view = buffer.view(static_cast<int>(tokens));
    OneProduct program(a, view, y.data());
    static std::mutex one_at_a_time; // threads are kept between calls: starting them takes longer than a product
    static std::unique_ptr<Pool> pool;
    static long owner = 0;
    std::lock_guard lock(one_at_a_time);
    if (!pool || pool->threads() != threads || owner != getpid()) pool = std::make_unique<Pool>(threads), owner = getpid();
    pool->execute(program);
}

} // namespace

void bind(nb::module_& m) {
    nb::class_<Handle>(m, "Linear")
        .def_prop_ro("shape", [](const Handle& h) { return nb::make_tuple(h.linear->rows, h.linear->cols); })
        .def_prop_ro("kernel", [](const Handle& h) {
            const std::string kernel = h.linear->kernel;
            return kernel + (h.linear->left() && kernel != "monarch" ? "+low-rank" : "");
        })
        .def_prop_ro("nbytes", [](const Handle& h) { return h.linear->bytes(); })
        .def("row", [](const Handle& h, int index, Array<float, 1> out) {
            if (index < 0 || index >= h.linear->rows) refuse("row=" + std::to_string(index) + ": outside the matrix");
            if (out.shape(0) != static_cast<std::size_t>(h.linear->cols)) refuse("out does not fit the matrix");
            h.linear->row(index, out.data());
        })
        .def("matmat", &matmat);
    m.def("dense_f32", &dense<float, &Table::dense_f32>);
    m.def("dense_bf16", &dense<std::uint16_t, &Table::dense_bf16>);
    m.def("bitmap", &dense<float, &Table::bitmap>);
    m.def("nm_f32", [](Array<const float, 2> values, Array<const std::uint8_t, 2> positions, std::size_t cols, int n, int m) {
        return make_nm(values, positions, cols, n, m, NMEntries::float32);
    });
    m.def("nm_f16", [](Array<const std::uint16_t, 2> values, Array<const std::uint8_t, 2> positions, std::size_t cols, int n, int m) {
        return make_nm(values, positions, cols, n, m, NMEntries::float16);
    });
    m.def("nm_bf16", [](Array<const std::uint16_t, 2> values, Array<const std::uint8_t, 2> positions, std::size_t cols, int n, int m) {
        return make_nm(values, positions, cols, n, m, NMEntries::bfloat16);
    });
    m.def("group_quant",
          [](Array<const std::uint8_t, 2> q, Array<const std::uint16_t, 1> scale,
             std::optional<Array<const std::uint8_t, 1>> zero_int, std::optional<Array<const std::uint16_t, 1>> zero_float,
             std::size_t rows, std::size_t cols, int bits, int group) {
              return make_group_quant({q, scale, zero_int, zero_float}, rows, cols, bits, group);
          },
          nb::arg("qweight"), nb::arg("scale"), nb::arg("zero_int").none(), nb::arg("zero_float").none(), nb::arg("rows"),
          nb::arg("cols"), nb::arg("bits"), nb::arg("group"));
    m.def("group_sparse_quant",
          [](Array<const std::int32_t, 1> row_ptr, Array<const std::uint16_t, 1> col, Array<const std::uint8_t, 2> q,
             Array<const std::uint16_t, 1> scale, std::optional<Array<const std::uint8_t, 1>> zero_int,
             std::optional<Array<const std::uint16_t, 1>> zero_float, std::size_t cols, int bits, int group) {
              return make_group_sparse({q, scale, zero_int, zero_float}, row_ptr, col, cols, bits, group);
          },
          nb::arg("row_ptr"), nb::arg("col"), nb::arg("qweight"), nb::arg("scale"), nb::arg("zero_int").none(),
          nb::arg("zero_float").none(), nb::arg("cols"), nb::arg("bits"), nb::arg("group"));
    m.def("low_rank", &make_low_rank);
    m.def("blocks_f32", &make_blocks<float>);
    m.def("blocks_bf16", &make_blocks<std::uint16_t>);
    m.def("chain", &make_chain);
}

} // namespace gossamer::linear
