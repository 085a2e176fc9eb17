// Products of functions on the sphere: on grids, by sparse bilinear forms, about a direction.
#include "check.hpp"
#include "gaunt/gaunt.hpp"

using namespace gossamer::gaunt;

namespace check {
namespace {

std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

template <class Real>
struct Many { // rows, each of which `repeats` rows of a product take
    std::vector<Real> data;
    Rows<Real> rows;
    Many(std::int64_t count, std::int64_t repeats, std::int64_t width)
        : data(normals<Real>(count * width)), rows{data.data(), count, repeats, width} {}
};

template <class Real>
struct Map { // random sparse rows; those of one degree keep to its columns
    std::vector<std::int64_t> pointers{0};
    std::vector<std::int32_t> columns;
    std::vector<Real> values;
    void row(std::int64_t from, std::int64_t to) {
        for (std::int64_t c = from; c < to; ++c)
            if (chance(0.5)) columns.push_back(static_cast<std::int32_t>(c));
        pointers.push_back(static_cast<std::int64_t>(columns.size()));
        values = normals<Real>(pointers.back());
    }
    static Map degrees(int L) {
        Map out;
        for (int l = 0; l <= L; ++l)
            for (int m = -l; m <= l; ++m) out.row(l * l, (l + 1) * (l + 1));
        for (Real& x : out.values) x /= Real(L + 1);
        return out;
    }
    Linear<Real> view() const { return {static_cast<std::int64_t>(pointers.size()) - 1, pointers.data(), columns.data(), values.data()}; }
};

std::int64_t terms(int L) { return std::int64_t{L + 1} * (L + 2) / 2; }

// Factors by their degrees and powers; the second one's rows are shared by three rows of the product.
template <class Real, auto Entry>
void one_grid(const std::string& kind, std::vector<std::pair<int, int>> factors, int degree, int pairs, int quarter, std::int64_t rows) {
    std::vector<Many<Real>> x;
    std::vector<std::vector<Real>> tables;
    int top = degree;
    for (std::size_t f = 0; f < factors.size(); ++f) {
        const int L = factors[f].first;
        top = std::max(top, L);
        x.emplace_back(f ? (rows + 2) / 3 : rows, f ? 3 : 1, harmonics(L));
        tables.push_back(normals<Real>(terms(L) * pairs));
    }
    const auto out_table = normals<Real>(terms(degree) * pairs), cosine = normals<Real>((top + 1) * quarter), sine = normals<Real>((top + 1) * quarter);
    Grid<Real> grid{};
    grid.factors = static_cast<int>(factors.size());
    for (std::size_t f = 0; f < factors.size(); ++f) grid.factor[f] = {x[f].rows, factors[f].first, factors[f].second, tables[f].data()};
    grid.degree = degree, grid.table = out_table.data(), grid.pairs = pairs, grid.quarter = quarter;
    grid.cosine = cosine.data(), grid.sine = sine.data();
    both<Real>(kind + " grid, " + std::to_string(rows) + " rows, " + std::to_string(pairs) + " pairs", neon_table, portable_table,
               [&](const Table& table, int threads) {
                   std::vector<Real> out(size(rows * harmonics(degree)));
                   (table.*Entry).grid(grid, rows, out.data(), threads);
                   return out;
               });
}

template <class Real, auto Entry>
void one_bilinear(const std::string& kind, bool mapped, std::int64_t rows) {
    constexpr std::int64_t wide = 9, narrow = 4, middle = 7;
    const Many<Real> x(rows, 1, wide), y(1, 1, narrow);
    Map<Real> before_x, before_y, after;
    if (mapped) {
        for (std::int64_t i = 0; i < middle; ++i) before_x.row(0, wide), before_y.row(0, narrow);
        for (std::int64_t i = 0; i < 5; ++i) after.row(0, middle);
    }
    std::vector<std::int32_t> left, right, out_index;
    std::vector<std::int64_t> pointers{0};
    for (std::int32_t i = 0; i < (mapped ? middle : wide); ++i)
        for (std::int32_t j = 0; j < (mapped ? middle : narrow); ++j) {
            for (std::int32_t k = 0; k < middle; ++k)
                if (chance(0.3)) out_index.push_back(k);
            left.push_back(i), right.push_back(j);
            pointers.push_back(static_cast<std::int64_t>(out_index.size()));
        }
    const auto values = normals<Real>(pointers.back());
    const Bilinear<Real> all{x.rows, y.rows, before_x.view(), before_y.view(), after.view(), static_cast<std::int64_t>(left.size()), middle,
                             left.data(), right.data(), pointers.data(), out_index.data(), values.data()};
    both<Real>(kind + (mapped ? " bilinear between maps, " : " bilinear, ") + std::to_string(rows) + " rows", neon_table, portable_table,
               [&](const Table& table, int threads) {
                   std::vector<Real> out(size(rows * (mapped ? 5 : middle)));
                   (table.*Entry).bilinear(all, rows, out.data(), threads);
                   return out;
               });
}

// Forward, and the slope in the filter.
template <class Real, auto Entry>
void one_aligned(const std::string& kind, int L, int filter, int degree, int pairs, std::int64_t edges) {
    constexpr std::int64_t channels = 3;
    const std::int64_t rows = edges * channels;
    const Many<Real> x(rows, 1, harmonics(L)), h(rows, 1, filter + 1), slope(rows, 1, harmonics(degree));
    Many<Real> turns(edges, channels, 4);
    for (std::size_t i = 0; i < turns.data.size(); i += 2) {
        const Real angle = turns.data[i];
        turns.data[i] = std::cos(angle), turns.data[i + 1] = std::sin(angle);
    }
    const auto table = normals<Real>(terms(L) * pairs), zonal = normals<Real>((filter + 1) * pairs), out_table = normals<Real>(terms(degree) * pairs);
    const auto exchange = Map<Real>::degrees(std::max(L, degree));
    const Aligned<Real> all{x.rows, h.rows, turns.rows, L, filter, degree, table.data(), zonal.data(), out_table.data(), pairs, exchange.view(), slope.rows};
    both<Real>(kind + " about a direction, degrees " + std::to_string(L) + " to " + std::to_string(degree), neon_table, portable_table,
               [&](const Table& table, int threads) {
                   std::vector<Real> out(size(rows * (harmonics(degree) + filter + 1)));
                   (table.*Entry).aligned(all, rows, out.data(), threads);
                   (table.*Entry).aligned_filter(all, rows, out.data() + rows * harmonics(degree), threads);
                   return out;
               });
}

template <class Real, auto Entry>
void all_products(const std::string& kind) {
    for (const int pairs : {1, 2, 3, 5, 8})
        one_grid<Real, Entry>(kind, {{pairs % 4, 1}, {2, 1}}, 3, pairs, pairs % 5 + 1, 13 + pairs);
    one_grid<Real, Entry>(kind, {{3, 3}}, 2, 6, 4, 1);
    one_grid<Real, Entry>(kind, {{2, 2}, {1, 1}, {4, 1}}, 5, 7, 6, 500);
    for (const std::int64_t rows : {1, 6, 700})
        for (const bool mapped : {false, true}) one_bilinear<Real, Entry>(kind, mapped, rows);
    one_aligned<Real, Entry>(kind, 0, 0, 0, 1, 3);
    one_aligned<Real, Entry>(kind, 2, 3, 4, 5, 7);
    one_aligned<Real, Entry>(kind, 5, 2, 3, 6, 200);
}

} // namespace

void spheres() {
    all_products<float, &Table::float32>("gaunt float32");
    all_products<double, &Table::float64>("gaunt float64");
}

} // namespace check
