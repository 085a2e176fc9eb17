// Kernels that take their factors as files hold them: csr, block, nm, monarch, quant, gqs and low-rank terms.
#include "block/block.hpp"
#include "check.hpp"
#include "csr/csr.hpp"
#include "gqs/gqs.hpp"
#include "lowrank/lowrank.hpp"
#include "monarch/monarch.hpp"
#include "nm/nm.hpp"
#include "quant/quant.hpp"

using namespace gossamer;

namespace check {
namespace {

template <class Value, class Index, auto Entry>
void one_csr(std::int64_t rows, std::int64_t cols) {
    std::vector<Index> indptr, indices;
    std::vector<std::int64_t> column;
    random_rows(rows, cols, indptr, column);
    indices.assign(column.begin(), column.end());
    const auto data = normals<Value>(static_cast<std::int64_t>(column.size()));
    const csr::Matrix<Value, Index> a{rows, cols, indptr.data(), indices.data(), data.data()};
    const auto with = [&](const csr::Table& table) {
        return [&](const Value* x, std::int64_t n, Value* y, int threads) { (table.*Entry)(a, x, n, y, threads); };
    };
    product<Value>("csr " + std::to_string(rows) + "x" + std::to_string(cols), rows, cols, with(csr::neon_table), with(csr::portable_table));
}

template <class Real, auto Entry>
void one_block(std::int64_t rows, std::int64_t cols, std::int64_t r, std::int64_t c) {
    std::vector<std::int32_t> indptr, indices;
    std::vector<std::int64_t> column;
    random_rows(rows, cols, indptr, column);
    indices.assign(column.begin(), column.end());
    const auto data = normals<Real>(static_cast<std::int64_t>(column.size()) * r * c);
    const block::Matrix<Real> a{rows, r, c, indptr.data(), indices.data(), data.data()};
    const auto with = [&](const block::Table& table) {
        return [&](const Real* x, std::int64_t n, Real* y, int threads) { (table.*Entry)(a, x, n, y, threads); };
    };
    product<Real>("block of " + std::to_string(r) + "x" + std::to_string(c), rows * r, cols * c, with(block::neon_table), with(block::portable_table));
}

template <class Real, auto Entry>
void one_nm(std::int64_t rows, std::int64_t groups, int n, int m) {
    const int bits = m <= 2 ? 1 : m <= 4 ? 2 : m <= 8 ? 3 : 4;
    const std::int64_t kept = groups * n, stride = (kept * bits + 7) / 8;
    std::vector<std::uint8_t> positions(static_cast<std::size_t>(rows * stride));
    for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t g = 0; g < groups; ++g)
            for (int j = 0, at = 0; j < n; ++j, ++at) {
                at = static_cast<int>(integer(at, m - n + j));
                const std::int64_t bit = (g * n + j) * bits;
                for (int b = 0; b < bits; ++b)
                    if (at >> b & 1) positions[static_cast<std::size_t>(row * stride + (bit + b) / 8)] |= static_cast<std::uint8_t>(1 << ((bit + b) % 8));
            }
    const auto values = normals<Real>(rows * kept);
    const nm::Matrix<Real> a{rows, groups * m, n, m, bits, values.data(), positions.data()};
    const auto with = [&](const nm::Table& table) {
        return [&](const Real* x, std::int64_t count, Real* y, int threads) { (table.*Entry)(a, x, count, y, threads); };
    };
    product<Real>("nm " + std::to_string(n) + ":" + std::to_string(m), rows, groups * m, with(nm::neon_table), with(nm::portable_table));
}

// Two stages; one row of the second is dropped, one place of the first stays zero.
template <class Real, auto Entry>
void one_monarch(std::int64_t blocks, std::int64_t rows, std::int64_t depth, bool bfloat16, bool by_token) {
    const std::int64_t x_rows = blocks * depth - 1, y_rows = rows * 3 - 1; // the second stage: `rows` blocks of 3 x blocks
    const auto a = normals<Real>(blocks * rows * depth), b = normals<Real>(rows * 3 * blocks);
    std::vector<std::uint16_t> a_brain, b_brain;
    for (const Real w : a) a_brain.push_back(brain(static_cast<float>(w)));
    for (const Real w : b) b_brain.push_back(brain(static_cast<float>(w)));
    std::vector<std::int32_t> place, middle(static_cast<std::size_t>(blocks * rows)), out(static_cast<std::size_t>(rows * 3));
    for (std::int64_t i = 0; i < x_rows; ++i) place.push_back(static_cast<std::int32_t>(blocks * depth - 1 - i));
    for (std::int64_t i = 0; i < blocks * rows; ++i) middle[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i % rows * blocks + i / rows);
    for (std::int64_t i = 0; i < rows * 3; ++i) out[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i - 1);
    const monarch::Stage stages[] = {
        {bfloat16 ? static_cast<const void*>(a_brain.data()) : a.data(), bfloat16, blocks, rows, depth, rows * depth, depth, 1, middle.data()},
        {bfloat16 ? static_cast<const void*>(b_brain.data()) : b.data(), bfloat16, rows, 3, blocks, 3 * blocks, 1, 3, out.data()}};
    const monarch::Chain chain{stages, 2, place.data()};
    const auto shift = normals<Real>(y_rows);
    const Real* bias = bfloat16 ? nullptr : shift.data();
    const auto with = [&](const monarch::Table& table) {
        return [&](const Real* x, std::int64_t n, Real* y, int threads) {
            std::vector<Real> turned(static_cast<std::size_t>(x_rows * n)), result(static_cast<std::size_t>(y_rows * n));
            if (!by_token) return (table.*Entry)(chain, {x, x_rows, n, false}, bias, {y, y_rows, n, false}, threads);
            for (std::int64_t k = 0; k < x_rows * n; ++k) turned[static_cast<std::size_t>(k % n * x_rows + k / n)] = x[k];
            (table.*Entry)(chain, {turned.data(), x_rows, n, true}, bias, {result.data(), y_rows, n, true}, threads);
            for (std::int64_t k = 0; k < y_rows * n; ++k) y[k] = result[static_cast<std::size_t>(k % n * y_rows + k / n)];
        };
    };
    product<Real>("monarch of " + std::to_string(blocks) + " blocks", y_rows, x_rows, with(monarch::neon_table), with(monarch::portable_table),
                  false, {1, 3, 5, 32, 77});
}

enum class Zero { none, integer, real };

constexpr double cancelled = 1e-5; // where an entry is itself a difference: codes times scale less a float zero, low rank

struct Groups { // packed codes as they come: every byte is a valid one
    std::vector<std::uint8_t> codes, integer;
    std::vector<std::uint16_t> scale, real;
    QuantisedGroups view;

    Groups(std::int64_t count, int bits, std::int64_t group, Zero zero, bool integers) {
        codes = bytes(count * bits * ((group + 7) / 8 * 8) / 8);
        if (zero == Zero::integer) integer = bytes(bits == 8 ? count : (count + 1) / 2);
        for (std::int64_t g = 0; g < count; ++g) {
            const float step = integers ? 1.0f : 0.01f + 0.02f * std::fabs(normal());
            scale.push_back(half(step));
            if (zero == Zero::real) real.push_back(half(step * static_cast<float>(integer_below(1 << bits))));
        }
        view = {bits, group, count, codes.data(), scale.data(), zero == Zero::integer ? integer.data() : nullptr,
                zero == Zero::real ? real.data() : nullptr};
    }
    static std::int64_t integer_below(std::int64_t end) { return check::integer(0, end - 1); }
};

struct Factors { // of a low-rank term: left in bfloat16, right in codes
    std::vector<std::uint16_t> values;
    Groups codes;
    lowrank::Term term;

    Factors(std::int64_t rows, std::int64_t cols, std::int64_t rank)
        : codes(rank * ((cols + 31) / 32), 4, 32, Zero::integer, false) {
        for (std::int64_t i = 0; i < rows * rank; ++i) values.push_back(brain(normal()));
        term = {{lowrank::Storage::bfloat16, rows, rank, values.data(), 0, {}},
                {lowrank::Storage::codes, rank, cols, nullptr, (cols + 31) / 32, codes.view}};
    }
};

std::string name(const char* family, std::int64_t rows, std::int64_t cols, int bits, std::int64_t group, Zero zero) {
    return std::string(family) + " " + std::to_string(rows) + "x" + std::to_string(cols) + " W" + std::to_string(bits) + " G" +
           std::to_string(group) + (zero == Zero::none ? "" : zero == Zero::integer ? " integer zeros" : " float zeros");
}

template <class Real, class Table, class Matrix, class Call>
void both(const std::string& label, const Matrix& a, const Table& ours, const Table& portable, bool integers, const Call& call,
          double tolerance = 1e-6) {
    const auto with = [&](const Table& table) {
        return [&](const Real* x, std::int64_t n, Real* y, int threads) { call(table, a, x, n, y, threads); };
    };
    product<Real>(label, a.rows, a.cols, with(ours), with(portable), integers, {1, 2, 3, 4, 5, 32}, tolerance);
}

void one_quant(const quant::Table& ours, std::int64_t rows, std::int64_t cols, int bits, std::int64_t group, Zero zero) {
    const quant::Table& theirs = quant::portable_table;
    const std::int64_t per_row = (cols + group - 1) / group;
    const std::string label = name("quant", rows, cols, bits, group, zero);
    const Groups exact(rows * per_row, bits, group, zero, true), groups(rows * per_row, bits, group, zero, false);
    const Factors added(rows, cols, 5);
    const quant::Matrix whole{rows, cols, per_row, exact.view}, a{rows, cols, per_row, groups.view};
    const auto int8 = [](const quant::Table& t, const auto& m, const float* x, std::int64_t n, float* y, int threads) {
        t.int8(m, x, n, y, nullptr, threads);
    };
    if (zero != Zero::real) both<float>(label + " int8, integers", whole, ours, theirs, true, int8);
    both<float>(label + " int8", a, ours, theirs, false, int8, cancelled);
    both<float>(label + " float32 + low rank", a, ours, theirs, false,
                [&](const quant::Table& t, const auto& m, const float* x, std::int64_t n, float* y, int threads) {
                    t.float32(m, x, n, y, &added.term, threads);
                },
                cancelled);
    both<double>(label + " float64", a, ours, theirs, false,
                 [](const quant::Table& t, const auto& m, const double* x, std::int64_t n, double* y, int threads) {
                     t.float64(m, x, n, y, nullptr, threads);
                 });
}

void one_gqs(const gqs::Table& ours, std::int64_t rows, std::int64_t cols, int bits, std::int64_t group, Zero zero) {
    const gqs::Table& theirs = gqs::portable_table;
    std::vector<std::int32_t> row_ptr;
    std::vector<std::int64_t> places;
    random_rows(rows, (cols + group - 1) / group, row_ptr, places);
    const std::vector<std::uint16_t> column(places.begin(), places.end());
    const std::string label = name("gqs", rows, cols, bits, group, zero);
    const auto kept = static_cast<std::int64_t>(column.size());
    const Groups exact(kept, bits, group, zero, true), groups(kept, bits, group, zero, false);
    const Factors added(rows, cols, 5);
    const gqs::Matrix whole{rows, cols, row_ptr.data(), column.data(), exact.view}, a{rows, cols, row_ptr.data(), column.data(), groups.view};
    const auto int8 = [](const gqs::Table& t, const auto& m, const float* x, std::int64_t n, float* y, int threads) {
        t.int8(m, x, n, y, nullptr, true, threads);
    };
    if (zero != Zero::real) both<float>(label + " int8, integers", whole, ours, theirs, true, int8);
    both<float>(label + " int8", a, ours, theirs, false, int8, cancelled);
    both<float>(label + " float32 + low rank", a, ours, theirs, false,
                [&](const gqs::Table& t, const auto& m, const float* x, std::int64_t n, float* y, int threads) {
                    t.float32(m, x, n, y, &added.term, true, threads);
                },
                cancelled);
    both<double>(label + " float64", a, ours, theirs, false,
                 [](const gqs::Table& t, const auto& m, const double* x, std::int64_t n, double* y, int threads) {
                     t.float64(m, x, n, y, nullptr, true, threads);
                 });
}

void one_lowrank(std::int64_t rows, std::int64_t cols, std::int64_t rank) {
    const Factors f(rows, cols, rank);
    const auto with = [&](const lowrank::Table& table) {
        return [&](const float* x, std::int64_t n, float* y, int threads) {
            std::fill_n(y, rows * n, 0.0f);
            table.float32(f.term, x, n, y, threads);
        };
    };
    product<float>("lowrank rank " + std::to_string(rank), rows, cols, with(lowrank::neon_table), with(lowrank::portable_table),
                   false, {1, 2, 3, 4, 5, 32}, cancelled);
}

} // namespace

void products(bool dot) {
    if (!dot) {
        for (const auto& [rows, cols] : {std::pair{1, 1}, {7, 19}, {301, 97}}) {
            one_csr<float, std::int32_t, &csr::Table::float32_int32>(rows, cols);
            one_csr<double, std::int64_t, &csr::Table::float64_int64>(rows, cols);
        }
        for (const int size : {1, 3, 16}) {
            one_block<float, &block::Table::float32>(9, 11, size, 4);
            one_block<double, &block::Table::float64>(9, 11, 2, size);
        }
        for (const auto& [n, m] : {std::pair{2, 4}, {1, 4}, {1, 2}, {3, 8}, {4, 4}})
            for (const int groups : {1, 7, 33}) {
                one_nm<float, &nm::Table::float32>(35, groups, n, m);
                one_nm<double, &nm::Table::float64>(35, groups, n, m);
            }
        one_nm<float, &nm::Table::float32>(600, 101, 2, 4);
        for (const bool by_token : {false, true})
            for (const bool bfloat16 : {false, true}) {
                one_monarch<float, &monarch::Table::float32>(5, 7, 6, bfloat16, by_token);
                one_monarch<double, &monarch::Table::float64>(3, 17, 9, bfloat16, by_token);
                one_monarch<float, &monarch::Table::float32>(16, 61, 15, bfloat16, by_token);
            }
        for (const int rank : {1, 16}) one_lowrank(37, 75, rank);
        one_lowrank(250, 333, 9);
    }
    const auto& quantised = dot ? quant::neon_dot_table : quant::neon_table;
    const auto& sparse = dot ? gqs::neon_dot_table : gqs::neon_table;
    for (const int bits : {2, 3, 4, 8})
        for (const int group : {1, 8, 16, 20, 32, 48, 64, 128, 256})
            for (const Zero zero : {Zero::none, Zero::integer, Zero::real}) {
                const std::int64_t cols = group < 16 ? 3 * group + 1 : group + integer(1, group);
                one_quant(quantised, 6, cols, bits, group, zero);
                one_gqs(sparse, 6, cols + group, bits, group, zero);
            }
    for (const int bits : {4, 8}) {
        one_quant(quantised, 250, 333, bits, 16, Zero::integer);
        one_gqs(sparse, 500, 333, bits, 16, Zero::integer);
    }
    one_quant(quantised, 3, 1, 4, 16, Zero::none);
    one_gqs(sparse, 3, 1, 4, 16, Zero::none);
}

} // namespace check
