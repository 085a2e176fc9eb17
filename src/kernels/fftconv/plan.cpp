#include "fftconv.hpp"

#include <cmath>
#include <cstring>
#include <numbers>

namespace gossamer::fftconv {
namespace {

// exp(-2 pi i turns)
template <class Real>
void put(Real* at, std::int64_t apart, double turns) {
    const double angle = 2 * std::numbers::pi * (turns - std::floor(turns));
    at[0] = static_cast<Real>(std::cos(angle));
    at[apart] = static_cast<Real>(-std::sin(angle));
}

std::uint32_t half(float x) { // to bfloat16, to even
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

// Of x = a + i b the words (a, b) meet (C, -S), (S, C) forward, (C, S), (-S, C) back.
void add_pairs(std::vector<std::uint32_t>& to, int radix) {
    const auto side = static_cast<std::size_t>(radix), from = to.size();
    to.resize(from + 4 * side * side);
    for (std::size_t f = 0; f < side; ++f)
        for (std::size_t j = 0; j < side; ++j) {
            float w[2];
            put(w, 1, static_cast<double>(f * j % side) / radix);
            const std::uint32_t c = half(w[0]), s = half(w[1]), minus_s = half(-w[1]);
            const std::uint32_t entries[4] = {c | minus_s << 16, s | c << 16, c | s << 16, minus_s | c << 16};
            for (std::size_t part = 0; part < 4; ++part) to[from + (part * side + f) * side + j] = entries[part];
        }
}

template <class Real>
void add_matrices(std::vector<Real>& to, int radix) {
    const auto side = static_cast<std::size_t>(radix), from = to.size();
    to.resize(from + 4 * side * side);
    for (std::size_t f = 0; f < side; ++f)
        for (std::size_t j = 0; j < side; ++j) {
            Real w[2];
            put(w, 1, static_cast<double>(f * j % side) / radix);
            const Real entries[4] = {w[0], w[1], w[0] + w[1], w[0] - w[1]};
            for (std::size_t part = 0; part < 4; ++part) to[from + (part * side + f) * side + j] = entries[part];
        }
}

} // namespace

template <class Real>
Plan<Real>::Plan(std::int64_t points_, std::vector<int> radices, bool columns_, bool twisted_, bool products,
                 int lanes_)
    : points(points_), lanes(lanes_), columns(columns_), twisted(twisted_) {
    // A block is what is modulo z^S - exp(-2 pi i turns).
    std::vector<double> turns{twisted ? -0.25 : 0.0};
    std::int64_t cells = columns ? points / lanes : points;
    const auto add = [&](int radix) {
        for (const double block : turns)
            for (int j = 0; j < radix; ++j) {
                constants.resize(constants.size() + 2);
                put(constants.data() + constants.size() - 2, 1, block * j / radix);
            }
    };
    const auto split = [&](int radix) {
        std::vector<double> next;
        next.reserve(turns.size() * static_cast<std::size_t>(radix));
        for (const double block : turns)
            for (int f = 0; f < radix; ++f) next.push_back((block + f) / radix);
        turns.swap(next);
    };
    for (const int radix : radices) {
        cells /= radix;
        levels.push_back({radix, cells, static_cast<std::int64_t>(constants.size()),
                          static_cast<std::int64_t>(fourier.size())});
        if (products) add_matrices(fourier, radix), add_pairs(pairs, radix);
        add(radix);
        split(radix);
    }
    tile_constants = static_cast<std::int64_t>(constants.size());
    if (!columns) return;
    add(lanes);
    split(lanes);
    tile_lanes.resize(static_cast<std::size_t>(2 * points));
    for (std::int64_t tile = 0; tile < tiles(); ++tile)
        for (int j = 0; j < lanes; ++j)
            for (int lane = 0; lane < lanes; ++lane)
                put(tile_lanes.data() + ((tile * lanes + j) * 2) * lanes + lane, lanes,
                    turns[static_cast<std::size_t>(tile * lanes + lane)] * j / lanes);
}

template <class Real>
View<Real> Plan<Real>::view(PairProduct pair_product) const {
    return {points,
            lanes,
            columns,
            twisted,
            levels.data(),
            static_cast<int>(levels.size()),
            constants.data(),
            tile_constants,
            tile_lanes.data(),
            fourier.empty() ? nullptr : fourier.data(),
            pairs.data(),
            pair_product};
}

template struct Plan<float>;
template struct Plan<double>;

} // namespace gossamer::fftconv
