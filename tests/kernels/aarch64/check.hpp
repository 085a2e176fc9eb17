// Random inputs, comparisons and counts: every kernel of a path meets the portable kernel of the same family.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace check {

inline std::mt19937_64 random_bits(20241217);

inline std::int64_t integer(std::int64_t low, std::int64_t high) { // both included
    return std::uniform_int_distribution<std::int64_t>(low, high)(random_bits);
}
inline float normal() { return std::normal_distribution<float>()(random_bits); }
inline bool chance(double p) { return std::bernoulli_distribution(p)(random_bits); }

template <class T>
std::vector<T> normals(std::int64_t count) {
    std::vector<T> out(static_cast<std::size_t>(count));
    for (T& x : out) x = static_cast<T>(normal());
    return out;
}
inline std::vector<std::uint8_t> bytes(std::int64_t count) {
    std::vector<std::uint8_t> out(static_cast<std::size_t>(count));
    for (auto& x : out) x = static_cast<std::uint8_t>(integer(0, 255));
    return out;
}
inline std::uint16_t half(float x) {
    const __fp16 value = static_cast<__fp16>(x);
    std::uint16_t bits;
    std::memcpy(&bits, &value, 2);
    return bits;
}
inline std::uint16_t brain(float x) { // cut off
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return static_cast<std::uint16_t>(bits >> 16);
}

inline int failures = 0;
inline std::int64_t compared = 0;
inline double worst = 0; // difference to the portable result, over its bound

inline void fail(const std::string& label, const std::string& what) {
    if (++failures <= 20) std::printf("FAILED %s: %s\n", label.c_str(), what.c_str());
}

// |ours - theirs| <= tolerance bound, entry by entry; no bound: the same bits.
template <class T>
void compare(const std::string& label, const std::vector<T>& ours, const std::vector<T>& theirs,
             const std::vector<double>& bound = {}, double tolerance = 1e-6) {
    if (ours.size() != theirs.size()) return fail(label, "different sizes");
    compared += static_cast<std::int64_t>(ours.size());
    if (std::memcmp(ours.data(), theirs.data(), ours.size() * sizeof(T)) == 0) return;
    for (std::size_t i = 0; i < ours.size(); ++i) {
        if (std::memcmp(&ours[i], &theirs[i], sizeof(T)) == 0) continue;
        const double error = std::fabs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i]));
        if (!bound.empty() && bound[i] > 0) worst = std::max(worst, error / bound[i]);
        if (!bound.empty() && error <= tolerance * bound[i]) continue;
        if (bound.empty() && error == 0) continue; // zeros of either sign
        return fail(label, "entry " + std::to_string(i) + " is " + std::to_string(ours[i]) + ", portable " + std::to_string(theirs[i]));
    }
}

// y (rows, n) = A x (cols, n), both row-major
template <class Real>
using Multiply = std::function<void(const Real* x, std::int64_t n, Real* y, int threads)>;

// One matrix, on several numbers of columns and threads. `integers`: x holds integers up to 127, nothing is rounded.
template <class Real>
void product(const std::string& label, std::int64_t rows, std::int64_t cols, const Multiply<Real>& ours,
             const Multiply<Real>& portable, bool integers = false, const std::vector<int>& columns = {1, 2, 3, 4, 5, 32},
             double tolerance = 1e-6) {
    // smaller products are not worth a thread to most families, and an emulated one takes long to wake
    const std::vector<int> teams = rows * cols >= 20'000 ? std::vector<int>{1, 2, 7} : std::vector<int>{1};
    std::vector<Real> dense(static_cast<std::size_t>(rows * cols));
    if (!integers) {
        std::vector<Real> identity(static_cast<std::size_t>(cols * cols));
        for (std::int64_t k = 0; k < cols; ++k) identity[static_cast<std::size_t>(k * cols + k)] = 1;
        portable(identity.data(), cols, dense.data(), 1);
    }
    for (const int n : columns) {
        std::vector<Real> x = normals<Real>(cols * n), theirs(static_cast<std::size_t>(rows * n)), ours_first;
        if (integers)
            for (std::int64_t i = 0; i < cols * n; ++i)
                x[static_cast<std::size_t>(i)] = static_cast<Real>(i / n % 32 ? integer(-127, 127) : 127);
        portable(x.data(), n, theirs.data(), 1);
        std::vector<double> bound;
        if (!integers)
            for (std::int64_t r = 0; r < rows; ++r)
                for (int c = 0; c < n; ++c) {
                    double sum = 0;
                    for (std::int64_t k = 0; k < cols; ++k)
                        sum += std::fabs(static_cast<double>(dense[static_cast<std::size_t>(r * cols + k)]) * x[static_cast<std::size_t>(k * n + c)]);
                    bound.push_back(sum);
                }
        for (const int threads : teams) {
            std::vector<Real> y(static_cast<std::size_t>(rows * n), static_cast<Real>(-77));
            ours(x.data(), n, y.data(), threads);
            const std::string where = label + ", " + std::to_string(n) + " columns, " + std::to_string(threads) + " threads";
            if (threads == 1)
                compare(where, ours_first = y, theirs, bound, tolerance);
            else if (std::memcmp(y.data(), ours_first.data(), y.size() * sizeof(Real)) != 0)
                fail(where, "other bits than with one thread");
        }
    }
}

// What float and double differ by where sums are long, of the largest entry.
constexpr double rounding(float) { return 1e-5; }
constexpr double rounding(double) { return 1e-13; }

// body(table, threads) on both paths, the largest entry bounds all; 1, 2 and 7 threads give the same bits.
template <class Real, class Table, class Body>
void both(const std::string& label, const Table& ours, const Table& portable, const Body& body, double tolerance = rounding(Real())) {
    const std::vector<Real> theirs = body(portable, 1), first = body(ours, 1);
    double top = 0;
    for (const Real x : theirs) top = std::max(top, std::fabs(static_cast<double>(x)));
    compare(label, first, theirs, std::vector<double>(theirs.size(), top), tolerance);
    for (const int threads : {2, 7}) {
        const std::vector<Real> again = body(ours, threads);
        if (std::memcmp(again.data(), first.data(), again.size() * sizeof(Real)) != 0)
            fail(label + ", " + std::to_string(threads) + " threads", "other bits than with one thread");
    }
}

// Pointers and ascending columns of `rows` rows that keep some of `count` places; some rows are empty.
template <class Index>
void random_rows(std::int64_t rows, std::int64_t count, std::vector<Index>& row_ptr, std::vector<std::int64_t>& column) {
    row_ptr.assign(1, 0);
    for (std::int64_t r = 0; r < rows; ++r) {
        const double density = r % 5 == 2 ? 0 : r % 5 == 3 ? 1 : 0.5;
        for (std::int64_t c = 0; c < count; ++c)
            if (chance(density)) column.push_back(c);
        row_ptr.push_back(static_cast<Index>(column.size()));
    }
}

// `dot`: with the integer dot product, which only quant, gqs and linear have.
void products(bool dot); // csr, block, nm, monarch, quant, gqs, lowrank
void prepared(bool dot); // linear, lscd
void layers();           // decoder, encoder
void sequences();        // fftconv, depthwise, ssm
void relaxation();       // relax
void spheres();          // gaunt

} // namespace check
