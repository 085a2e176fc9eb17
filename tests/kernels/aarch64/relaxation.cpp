// Relaxation of grids and sparse matrices, the sweeps of multigrid, and the arithmetic of what learns its parameter.
#include "check.hpp"
#include "multigrid/multigrid.hpp"
#include "relax/relax.hpp"

#include <algorithm>
#include <array>

using namespace gossamer::relax;

namespace check {
namespace {

constexpr double carried = 1e-12; // rounding, after iterations

// Everything that one path makes of a system, one number after another.
template <class Matrix>
std::vector<double> all(const Entries<Matrix>& path, const Matrix& a, const std::vector<double>& b, int threads) {
    const auto n = static_cast<std::int64_t>(b.size());
    std::vector<double> out, x(b.size()), r(b.size()), z(b.size()), norms(5);
    const auto keep = [&out](const std::vector<double>& values) { out.insert(out.end(), values.begin(), values.end()); };
    for (const bool backward : {false, true}) path.sweep(a, b.data(), 1.3, backward, x.data(), threads), keep(x);
    path.residual(a, b.data(), x.data(), r.data(), threads), keep(r);
    path.apply(a, 1.3, r.data(), z.data(), threads), keep(z);
    for (const bool recurrence : {false, true})
        path.sor(a, b.data(), 1.3, recurrence, 0, 5, x.data(), norms.data(), threads), keep(x), keep(norms);
    for (const Form form : {Form::plain, Form::ssor, Form::eisenstat}) {
        std::vector<double> y(b.size()), rest = b, vectors(static_cast<std::size_t>(3 * n));
        double rho[2] = {};
        const Search search{y.data(), rest.data(), vectors.data(), vectors.data() + n, vectors.data() + 2 * n, rho};
        path.pcg(a, form, 1.3, 0, 2, search, norms.data(), threads);
        keep(y), keep({norms[0], norms[1]});
    }
    return out;
}

template <class Matrix, auto Entry>
void one(const std::string& label, const Matrix& a, std::int64_t n) {
    const auto b = normals<double>(n);
    const auto theirs = all(portable_table.*Entry, a, b, 1), first = all(neon_table.*Entry, a, b, 1);
    double top = 0;
    for (const double x : theirs) top = std::max(top, std::fabs(x));
    compare(label, first, theirs, std::vector<double>(theirs.size(), top), carried);
    for (const int threads : {2, 7})
        if (all(neon_table.*Entry, a, b, threads) != first) fail(label, "other bits than with one thread");
}

// The two sweeps of a multigrid cycle from zero and from its own result.
void cycle(const Csr<std::int32_t>& a) {
    const auto b = normals<double>(a.n);
    std::vector<double> out[2];
    for (int path = 0; path < 2; ++path) {
        const auto& sweeps = (path ? gossamer::multigrid::neon_table : gossamer::multigrid::portable_table).csr32;
        std::vector<double> x(b.size(), 7), r(b.size());
        for (const bool zero : {true, false}) {
            sweeps.descend(a, b.data(), zero, x.data(), r.data());
            out[path].insert(out[path].end(), r.begin(), r.end());
            sweeps.ascend(a, b.data(), x.data());
            out[path].insert(out[path].end(), x.begin(), x.end());
        }
    }
    double top = 0;
    for (const double x : out[0]) top = std::max(top, std::fabs(x));
    compare("cycle", out[1], out[0], std::vector<double>(out[0].size(), top), carried);
}

void learning() {
    constexpr std::int64_t d = 5, m = 4;
    std::vector<double> laws[2];
    const auto seed = random_bits;
    for (int path = 0; path < 2; ++path) {
        random_bits = seed;
        const Learning& run = (path ? neon_table : portable_table).learning;
        std::vector<double> theta(d * m), gram(d * m * m), moment(d * m), square(d), bound(m), p(d), scores(d);
        std::vector<std::uint8_t> held(d);
        double kept[Regression::size] = {};
        kept[Regression::least] = 1e300, kept[Regression::scale] = 1;
        const Regression a{d, m, theta.data(), gram.data(), moment.data(), square.data(), bound.data(), held.data(), kept};
        for (int t = 0; t < 60; ++t) {
            const double x = std::sin(t), cost = static_cast<double>(integer(1, 40));
            run.chebcb_law(a, x, p.data(), scores.data());
            laws[path].insert(laws[path].end(), p.begin(), p.end());
            run.chebcb_learn(a, x, t % d, cost, scores[t % d]);
            run.tsallis_law(std::vector<double>{0, cost, 3, 100, 1e6}.data(), 0.1, d, p.data());
            laws[path].insert(laws[path].end(), p.begin(), p.end());
        }
    }
    compare("learning", laws[1], laws[0], std::vector<double>(laws[0].size(), 1), 1e-9);
}

} // namespace

void relaxation() {
    for (const auto& [nx, ny, nz] : {std::array{1, 1, 1}, {2, 1, 1}, {7, 1, 1}, {9, 5, 1}, {1, 4, 3}, {12, 7, 5}, {64, 40, 3}})
        for (const bool checkerboard : {false, true})
            one<Grid, &Table::grid>("grid", Grid{nx, ny, nz, 6.5, {1, 0.7, 0.4}, checkerboard}, std::int64_t{nx} * ny * nz);
    for (const std::int64_t n : {1, 2, 33, 3000}) { // five diagonals
        std::vector<std::int32_t> starts{0}, columns, middle(static_cast<std::size_t>(n));
        std::vector<double> data;
        for (std::int64_t i = 0; i < n; ++i) {
            for (const std::int64_t j : {i - 31, i - 1, i, i + 1, i + 31}) {
                if (j < 0 || j >= n) continue;
                columns.push_back(static_cast<std::int32_t>(j));
                data.push_back(j == i ? 4.5 : -1);
            }
            starts.push_back(static_cast<std::int32_t>(columns.size()));
        }
        Csr<std::int32_t> a{n, starts.data(), columns.data(), middle.data(), data.data(), nullptr, 0};
        int wrong = 0;
        if (neon_table.checks32.prepare(a, middle.data(), &wrong) != -1) fail("rows", "a good matrix is refused");
        one<Csr<std::int32_t>, &Table::csr32>("rows", a, n);
        cycle(a);
    }
    learning();
}

} // namespace check
