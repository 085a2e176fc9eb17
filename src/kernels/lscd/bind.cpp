#include "../dispatch/bind.hpp"
#include "../linear/handle.hpp"
#include "lscd.hpp"

#include <nanobind/stl/shared_ptr.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace gossamer::lscd {

const Table& table() {
#if defined(__x86_64__)
    if (has_bfloat16()) return avx512bf16_table;
#endif
    return GOSSAMER_SELECT(lscd);
}

namespace {

template <auto Entry, class Mask, class Value, class X>
void define(nb::module_& m, const char* name) {
    m.def(name,
          [](Array<const Mask, 2> masks, Array<const Value, 1> values, Array<const std::int64_t, 1> tile_ptr,
             Array<const X, 2> x, Array<float, 2> y, int split, int threads) {
              const Matrix a{static_cast<std::int64_t>(y.shape(0)), static_cast<std::int64_t>(x.shape(0)), masks.data(),
                             values.data(), tile_ptr.data(), static_cast<std::int64_t>(values.shape(0))};
              nb::gil_scoped_release release;
              (table().*Entry)(a, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(), split, threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(),
          nb::arg().noconvert(), nb::arg(), nb::arg());
}

// The same tiles as a prepared weight of the token loops; owns copies.
template <class Mask, class Value>
class TileLinear final : public linear::Linear {
public:
    TileLinear(const Array<const Mask, 2>& masks, const Array<const Value, 1>& values,
               const Array<const std::int64_t, 1>& tile_ptr, int rows, int cols, const char* kernel)
        : Linear(rows, cols, kernel), masks_(masks.nbytes()), values_(values.nbytes()), tile_ptr_(tile_ptr.nbytes()) {
        std::copy_n(masks.data(), masks.size(), masks_.template as<Mask>());
        std::copy_n(values.data(), values.size(), values_.template as<Value>());
        std::copy_n(tile_ptr.data(), tile_ptr.size(), tile_ptr_.template as<std::int64_t>());
        view_ = {rows, cols, masks_.template as<Mask>(), values_.template as<Value>(),
                 tile_ptr_.template as<std::int64_t>(), static_cast<std::int64_t>(values.size())};
    }

    void run(int first, int last, const linear::Activation& x, float* y, std::int64_t stride) const override {
        constexpr int tiles = linear::unit_rows / tile_rows;
        const Table& kernels = table();
        Tokens run = kernels.tokens_float32;
        if (sizeof(Mask) == 4)
            run = x.q ? kernels.tokens_bfloat16_both : kernels.tokens_bfloat16; // as exact as the caller allows
        else if (sizeof(Value) == 2)
            run = kernels.tokens_float16;
        run(view_, first * tiles, last * tiles, x.x, x.stride, x.tokens, y, stride);
    }
    void row(int index, float* out) const override { table().expand_row(view_, bits, index, out); }
    std::size_t bytes() const override { return masks_.size() + values_.size() + tile_ptr_.size(); }

private:
    static constexpr int bits = sizeof(Mask) == 4 ? 116 : 8 * sizeof(Value);
    linear::Buffer masks_, values_, tile_ptr_;
    Matrix view_;
};

template <class Mask, class Value>
std::shared_ptr<linear::Handle> prepare(Array<const Mask, 2> masks, Array<const Value, 1> values,
                                        Array<const std::int64_t, 1> tile_ptr, std::size_t rows, std::size_t cols) {
    if (rows < 1 || cols < 1 || rows > (1u << 24) || cols > (1u << 24))
        throw std::invalid_argument("rows and columns: expected 1..2^24");
    const char* name = sizeof(Mask) == 4 ? "lscd-bfloat16" : sizeof(Value) == 2 ? "lscd-float16" : "lscd-float32";
    auto handle = std::make_shared<linear::Handle>();
    handle->linear.reset(new TileLinear<Mask, Value>(masks, values, tile_ptr, static_cast<int>(rows), static_cast<int>(cols), name));
    return handle;
}

} // namespace

void bind(nb::module_& m) {
    define<&Table::float32, std::uint16_t, float, float>(m, "float32");
    define<&Table::float16, std::uint16_t, std::uint16_t, float>(m, "float16");
    define<&Table::bfloat16, std::uint32_t, std::uint16_t, float>(m, "bfloat16");
    define<&Table::bfloat16_both, std::uint32_t, std::uint16_t, std::uint16_t>(m, "bfloat16_both");
    m.def("linear_float32", &prepare<std::uint16_t, float>);
    m.def("linear_float16", &prepare<std::uint16_t, std::uint16_t>);
    m.def("linear_bfloat16", &prepare<std::uint32_t, std::uint16_t>);
    m.def("has_bfloat16", &has_bfloat16);
    m.def("csl_pack",
          [](Array<const std::uint16_t, 2> entries, Array<const std::int32_t, 1> offsets, bool reorder,
             Array<std::uint32_t, 1> words, int threads) {
              nb::gil_scoped_release release;
              csl_pack(entries.data(), static_cast<std::int64_t>(entries.shape(0)), static_cast<std::int64_t>(entries.shape(1)),
                       offsets.data(), reorder, words.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg(), nb::arg().noconvert(), nb::arg());
    m.def("csl_scatter",
          [](Array<const std::uint32_t, 1> words, Array<const std::int32_t, 1> offsets, Array<const float, 2> x,
             Array<float, 2> y, int threads) {
              const Csl a{static_cast<std::int64_t>(y.shape(0)), static_cast<std::int64_t>(x.shape(0)), words.data(), offsets.data()};
              nb::gil_scoped_release release;
              table().scatter(a, x.data(), static_cast<std::int64_t>(x.shape(1)), y.data(), threads);
          },
          nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg().noconvert(), nb::arg());
    m.attr("entries") = nb::make_tuple("float32", "float16", "bfloat16");
}

} // namespace gossamer::lscd
