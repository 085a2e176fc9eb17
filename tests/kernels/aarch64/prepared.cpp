// Kernels on weights that are repacked once: linear and lscd.
#include "check.hpp"
#include "linear/linear.hpp"
#include "linear/one_product.hpp"
#include "lscd/lscd.hpp"

#include <map>
#include <memory>

using namespace gossamer;

namespace check {
namespace {

using Made = std::unique_ptr<const linear::Linear>;

std::string path; // name of the one that is checked

// A x by prepared matrix, activations rounded by the same path; token-major inside.
Multiply<float> run(const linear::Linear& a, const char* isa, bool int8, bool tiled) {
    return [&a, isa = std::string(isa), int8, tiled](const float* x, std::int64_t n, float* y, int threads) {
        force(isa);
        const int tokens = static_cast<int>(n);
        linear::ActivationBuffer buffer(tokens, a.cols, int8, tiled);
        for (int t = 0; t < tokens; ++t) {
            for (int k = 0; k < a.cols; ++k) buffer.x(t)[k] = x[k * n + t];
            buffer.quantise(t);
        }
        for (int tile = 0; tile * linear::tile_tokens < tokens; ++tile) buffer.pack(tile, tokens);
        const linear::Activation view = buffer.view(tokens);
        std::vector<float> out(static_cast<std::size_t>(a.rows) * tokens);
        linear::OneProduct program(a, view, out.data());
        static std::map<int, std::unique_ptr<Pool>> pools; // kept: an emulated thread takes long to start
        auto& pool = pools[threads];
        if (!pool) pool = std::make_unique<Pool>(threads);
        pool->execute(program);
        for (int r = 0; r < a.rows; ++r)
            for (int t = 0; t < tokens; ++t) y[r * n + t] = out[static_cast<std::size_t>(t) * a.rows + r];
    };
}

void both(const std::string& label, const Made& ours, const Made& theirs, bool quantised, bool integers = false) {
    std::vector<float> row(static_cast<std::size_t>(ours->cols)), other = row;
    for (int r = 0; r < ours->rows; r += 3) {
        ours->row(r, row.data()), theirs->row(r, other.data());
        compare(label + " row", row, other, std::vector<double>(row.size(), 1));
    }
    if (!integers)
        product<float>(label, ours->rows, ours->cols, run(*ours, path.c_str(), false, false), run(*theirs, "portable", false, false));
    if (!quantised) return;
    for (const bool tiled : {false, true})
        product<float>(label + (tiled ? " int8 tiled" : " int8"), ours->rows, ours->cols, run(*ours, path.c_str(), true, tiled),
                       run(*theirs, "portable", true, tiled), integers);
}

struct Codes {
    std::vector<std::uint8_t> codes, zero_int;
    std::vector<std::uint16_t> scale, zero_float;
    linear::GroupQuant view;

    Codes(int rows, int cols, int bits, int group, std::int64_t count, int zero, bool integers) {
        codes = bytes(count * bits * ((group + 7) / 8 * 8) / 8);
        if (zero == 1) zero_int = bytes(bits == 8 ? count : (count + 1) / 2);
        for (std::int64_t g = 0; g < count; ++g) {
            const float step = integers ? 1.0f : 0.01f + 0.02f * std::fabs(normal());
            scale.push_back(half(step));
            if (zero == 2) zero_float.push_back(half(step * static_cast<float>(integer(0, (1 << bits) - 1))));
        }
        view = {rows, cols, bits, group, codes.data(), scale.data(), zero == 1 ? zero_int.data() : nullptr,
                zero == 2 ? zero_float.data() : nullptr};
    }
};

std::string name(const char* family, int rows, int cols, int bits, int group, int zero) {
    return std::string(family) + " " + std::to_string(rows) + "x" + std::to_string(cols) + " W" + std::to_string(bits) + " G" +
           std::to_string(group) + (zero == 0 ? "" : zero == 1 ? " integer zeros" : " float zeros");
}

void quantised(const linear::Table& ours, int rows, int cols, int bits, int group, int zero) {
    const linear::Table& theirs = linear::portable_table;
    for (const bool integers : {false, true}) {
        if (integers && zero == 2) continue;
        const Codes dense(rows, cols, bits, group, static_cast<std::int64_t>(rows) * ((cols + group - 1) / group), zero, integers);
        both(name("linear", rows, cols, bits, group, zero), Made(ours.group_quant(dense.view)), Made(theirs.group_quant(dense.view)),
             true, integers);
        if (bits < 4 && bits != 2) continue; // 3 bits are 4
        if (group % 16) continue;
        std::vector<std::int32_t> row_ptr;
        std::vector<std::int64_t> places;
        random_rows(rows, (cols + group - 1) / group, row_ptr, places);
        const std::vector<std::uint16_t> column(places.begin(), places.end());
        const Codes kept(rows, cols, bits, group, static_cast<std::int64_t>(places.size()), zero, integers);
        const linear::GroupSparseQuant from{kept.view, row_ptr.data(), column.data()};
        both(name("linear group-sparse", rows, cols, bits, group, zero), Made(ours.group_sparse_quant(rows, cols, from)),
             Made(theirs.group_sparse_quant(rows, cols, from)), true, integers);
    }
}

void plain(const linear::Table& ours, int rows, int cols) {
    const linear::Table& theirs = linear::portable_table;
    const std::string size = " " + std::to_string(rows) + "x" + std::to_string(cols);
    auto weight = normals<float>(static_cast<std::int64_t>(rows) * cols);
    std::vector<std::uint16_t> short_weight;
    for (const float w : weight) short_weight.push_back(brain(w));
    both("linear float32" + size, Made(ours.dense_f32(rows, cols, weight.data())), Made(theirs.dense_f32(rows, cols, weight.data())), false);
    both("linear bfloat16" + size, Made(ours.dense_bf16(rows, cols, short_weight.data())),
         Made(theirs.dense_bf16(rows, cols, short_weight.data())), false);
    const Made ours_base(ours.dense_f32(rows, cols, weight.data())), theirs_base(theirs.dense_f32(rows, cols, weight.data()));
    for (float& w : weight)
        if (chance(0.7)) w = 0;
    both("linear bitmap" + size, Made(ours.bitmap(rows, cols, weight.data())), Made(theirs.bitmap(rows, cols, weight.data())), false);
    for (const auto& [n, m] : {std::pair{2, 4}, {1, 4}, {3, 4}, {4, 4}, {1, 2}, {1, 1}}) {
        const int groups = (cols + m - 1) / m, kept = groups * n;
        std::vector<std::uint8_t> positions(static_cast<std::size_t>(rows) * ((kept + 3) / 4));
        auto values = normals<float>(static_cast<std::int64_t>(rows) * kept);
        for (int r = 0; r < rows; ++r)
            for (int g = 0; g < groups; ++g)
                for (int j = 0, at = 0; j < n; ++j, ++at) {
                    at = static_cast<int>(integer(at, m - n + j));
                    const int k = g * n + j;
                    positions[static_cast<std::size_t>(r) * ((kept + 3) / 4) + k / 4] |= static_cast<std::uint8_t>(at << (k % 4 * 2));
                    if (g * m + at >= cols) values[static_cast<std::size_t>(r) * kept + k] = 0;
                }
        std::vector<std::uint16_t> halves, brains;
        for (const float v : values) halves.push_back(half(v)), brains.push_back(brain(v));
        using Type = linear::NMEntries;
        for (const Type& from : {Type{n, m, Type::float32, values.data(), positions.data()}, Type{n, m, Type::float16, halves.data(), positions.data()},
                                 Type{n, m, Type::bfloat16, brains.data(), positions.data()}})
            both("linear " + std::to_string(n) + ":" + std::to_string(m) + size, Made(ours.nm(rows, cols, from)), Made(theirs.nm(rows, cols, from)), false);
    }
}

void rounding(const linear::Table& ours) {
    for (const int cols : {1, 31, 32, 33, 200}) {
        auto x = normals<float>(cols);
        for (int k = 0; k < cols; ++k)
            if (k / 32 == 2) x[static_cast<std::size_t>(k)] = 0; // a block of zeros
        const int blocks = (cols + 31) / 32;
        struct Out {
            std::vector<std::int8_t> q;
            std::vector<float> scale, mean;
            std::vector<std::int32_t> sum, half;
        } out[2];
        for (int i = 0; i < 2; ++i) {
            Out& o = out[i];
            o.q.resize(32 * blocks), o.scale.resize(blocks), o.mean.resize(2 * blocks), o.sum.resize(blocks), o.half.resize(2 * blocks);
            (i ? linear::portable_table : ours).quantise(x.data(), cols, o.q.data(), o.scale.data(), o.sum.data(), o.half.data(), o.mean.data());
        }
        const std::string label = "linear quantise " + std::to_string(cols);
        compare(label, out[0].q, out[1].q), compare(label, out[0].scale, out[1].scale), compare(label, out[0].sum, out[1].sum);
        compare(label, out[0].half, out[1].half), compare(label, out[0].mean, out[1].mean);
    }
}

// -- lscd -----------------------------------------------------------------------------------------------------------

template <class Mask, class Value, class Make>
struct Tiles {
    std::vector<Mask> masks;
    std::vector<Value> values;
    std::vector<std::int64_t> tile_ptr{0};
    lscd::Matrix view;

    Tiles(const std::vector<float>& dense, int rows, int cols, const Make& make) {
        constexpr int pair = sizeof(Mask) / 2; // columns of a mask
        for (int top = 0; top < rows; top += lscd::tile_rows)
            for (int left = 0; left < cols; left += lscd::tile_cols) {
                for (int k = 0; k < lscd::tile_cols; k += pair) {
                    Mask mask = 0;
                    for (int bit = 0; bit < 16 * pair; ++bit) {
                        const int r = top + bit / pair, c = left + k + bit % pair;
                        if (r >= rows || c >= cols || dense[static_cast<std::size_t>(r) * cols + c] == 0) continue;
                        mask |= static_cast<Mask>(Mask(1) << bit);
                        values.push_back(make(dense[static_cast<std::size_t>(r) * cols + c]));
                    }
                    masks.push_back(mask);
                }
                tile_ptr.push_back(static_cast<std::int64_t>(values.size()));
            }
        view = {rows, cols, masks.data(), values.data(), tile_ptr.data(), static_cast<std::int64_t>(values.size())};
    }
};

template <auto Entry, auto Tokens, class Mask, class Value, class Make>
void one_lscd(const std::string& label, const std::vector<float>& dense, int rows, int cols, int bits, const Make& make) {
    const Tiles<Mask, Value, Make> a(dense, rows, cols, make);
    const auto with = [&](const lscd::Table& table, int split) {
        return [&, split](const float* x, std::int64_t n, float* y, int threads) { (table.*Entry)(a.view, x, n, y, split, threads); };
    };
    const auto tokens = [&](const lscd::Table& table) {
        return [&](const float* x, std::int64_t n, float* y, int) {
            std::vector<float> turned(static_cast<std::size_t>(cols * n)), out(static_cast<std::size_t>(rows * n));
            for (int k = 0; k < cols; ++k)
                for (std::int64_t t = 0; t < n; ++t) turned[static_cast<std::size_t>(t * cols + k)] = x[k * n + t];
            (table.*Tokens)(a.view, 0, a.view.row_tiles(), turned.data(), cols, static_cast<int>(n), out.data(), rows);
            for (int r = 0; r < rows; ++r)
                for (std::int64_t t = 0; t < n; ++t) y[r * n + t] = out[static_cast<std::size_t>(t * rows + r)];
        };
    };
    for (const int split : {0, 2})
        product<float>(label, rows, cols, with(lscd::neon_table, split), with(lscd::portable_table, split));
    product<float>(label + " tokens", rows, cols, tokens(lscd::neon_table), tokens(lscd::portable_table), false, {1, 3, 5, 33});
    std::vector<float> row(static_cast<std::size_t>(cols)), other = row;
    for (int r = 0; r < rows; ++r) {
        lscd::neon_table.expand_row(a.view, bits, r, row.data()), lscd::portable_table.expand_row(a.view, bits, r, other.data());
        compare(label + " row", row, other);
    }
}

void tiles(int rows, int cols, double density) {
    auto dense = normals<float>(static_cast<std::int64_t>(rows) * cols);
    for (float& w : dense)
        if (!chance(density)) w = 0;
    const std::string size = " " + std::to_string(rows) + "x" + std::to_string(cols) + ", density " + std::to_string(density);
    using T = lscd::Table;
    one_lscd<&T::float32, &T::tokens_float32, std::uint16_t, float>("lscd float32" + size, dense, rows, cols, 32, [](float w) { return w; });
    one_lscd<&T::float16, &T::tokens_float16, std::uint16_t, std::uint16_t>("lscd float16" + size, dense, rows, cols, 16, half);
    one_lscd<&T::bfloat16, &T::tokens_bfloat16, std::uint32_t, std::uint16_t>("lscd bfloat16" + size, dense, rows, cols, 116, brain);

    std::vector<std::uint16_t> entries;
    for (const float w : dense) entries.push_back(half(w));
    const int down = (rows + lscd::csl_rows - 1) / lscd::csl_rows, across = (cols + lscd::csl_cols - 1) / lscd::csl_cols;
    std::vector<std::int32_t> offsets{0};
    for (int t = 0; t < down * across; ++t) {
        int count = 0;
        for (int r = t / across * 128; r < std::min(rows, t / across * 128 + 128); ++r)
            for (int c = t % across * 64; c < std::min(cols, t % across * 64 + 64); ++c) count += (entries[static_cast<std::size_t>(r) * cols + c] & 0x7fff) != 0;
        offsets.push_back(offsets.back() + (count + 3) / 4);
    }
    offsets.push_back(offsets.back());
    std::vector<std::uint32_t> words(static_cast<std::size_t>(offsets.back()) * 4);
    lscd::csl_pack(entries.data(), rows, cols, offsets.data(), false, words.data(), 1);
    const lscd::Csl a{rows, cols, words.data(), offsets.data()};
    const auto with = [&](const T& table) {
        return [&](const float* x, std::int64_t n, float* y, int threads) { table.scatter(a, x, n, y, threads); };
    };
    product<float>("lscd csl" + size, rows, cols, with(lscd::neon_table), with(lscd::portable_table));
}

} // namespace

void prepared(bool dot) {
    const linear::Table& table = dot ? linear::neon_dot_table : linear::neon_table;
    path = dot ? "neon-dot" : "neon";
    for (const int bits : {2, 3, 4, 8})
        for (const int group : {16, 32, 48, 64, 200})
            for (const int zero : {0, 1, 2}) quantised(table, 37, group == 200 ? 75 : 2 * group + static_cast<int>(integer(1, group)), bits, group, zero);
    for (const int bits : {4, 8}) quantised(table, 260, 150, bits, 16, 1);
    for (const auto& [rows, cols] : {std::pair{1, 1}, {33, 39}, {70, 128}}) plain(table, rows, cols);
    rounding(table);
    if (dot) return;
    tiles(1, 1, 1);
    tiles(37, 75, 0.3);
    tiles(150, 200, 0.5);
    tiles(20, 130, 0);
    tiles(16, 64, 1);
}

} // namespace check
