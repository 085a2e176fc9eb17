// Tiled-CSL words of a matrix, in row order or reordered against the bank conflicts of a GPU (Flash-LLM, section 4.3).
#include "../dispatch/parallel.hpp"
#include "lscd.hpp"

#include <array>
#include <vector>

namespace gossamer::lscd {
namespace {

constexpr int banks = 32, lanes = 32, tile_entries = csl_rows * csl_cols;

struct Tile {
    std::vector<std::uint32_t> lists[banks]; // row order; words are taken from the end
    std::array<std::int32_t, banks> zero;    // location of the first zero of each bank, or -1
    std::vector<std::uint32_t> words;        // row order
    std::int32_t first_zero;
};

int bank_of(int location) { return location % csl_cols / 2 % banks; }

void read(Tile& tile, const std::uint16_t* entries, std::int64_t rows, std::int64_t cols, std::int64_t top, std::int64_t left) {
    for (auto& list : tile.lists) list.clear();
    tile.zero.fill(-1);
    tile.words.clear();
    tile.first_zero = -1;
    for (int r = 0; r < csl_rows; ++r)
        for (int c = 0; c < csl_cols; ++c) {
            const bool inside = top + r < rows && left + c < cols;
            const std::uint16_t value = inside ? entries[(top + r) * cols + left + c] : 0;
            const int location = csl_location(r, c), bank = bank_of(location);
            if (value & 0x7fffu) { // either zero is none, NaN is one
                tile.words.push_back(value | static_cast<std::uint32_t>(location) << 16);
                tile.lists[bank].push_back(tile.words.back());
            } else {
                if (tile.zero[bank] < 0) tile.zero[bank] = location;
                if (tile.first_zero < 0) tile.first_zero = location;
            }
        }
}

// The longest list with any word, or the shortest with a zero to pad with; the lowest bank among equals.
int longest(const Tile& tile) {
    int best = 0;
    for (int b = 1; b < banks; ++b)
        if (tile.lists[b].size() > tile.lists[best].size()) best = b;
    return best;
}

int shortest(const Tile& tile) {
    int best = -1;
    for (int b = 0; b < banks; ++b)
        if (tile.zero[b] >= 0 && (best < 0 || tile.lists[b].size() < tile.lists[best].size())) best = b;
    return best;
}

// Words to lanes, so that those which 32 lanes store together lie in as different banks as can be.
void deal(Tile& tile, std::uint32_t* out, std::int64_t vectors) {
    const std::int64_t rounds = vectors / lanes;
    const auto round = [&](std::int64_t base, std::int64_t count) {
        for (int v = 0; v < csl_vector; ++v)
            for (std::int64_t lane = 0; lane < count; ++lane) {
                auto& list = tile.lists[longest(tile)];
                out[base + lane * csl_vector + v] = list.back();
                list.pop_back();
            }
    };
    round(rounds * lanes * csl_vector, vectors % lanes); // the tail chooses first, while the lists are longest
    for (std::int64_t r = 0; r < rounds; ++r) round(r * lanes * csl_vector, lanes);
}

} // namespace

void csl_pack(const std::uint16_t* entries, std::int64_t rows, std::int64_t cols, const std::int32_t* offsets,
              bool reorder, std::uint32_t* words, int threads) {
    const std::int64_t across = ceil_div(cols, csl_cols), down = ceil_div(rows, csl_rows);
    std::vector<Tile> tiles(static_cast<std::size_t>(most(1, threads))); // all memory before threads start
    for (auto& tile : tiles) {
        tile.words.reserve(tile_entries);
        for (auto& list : tile.lists) list.reserve(csl_rows * 2 + csl_vector);
    }
    parallel_chunks_by_thread(down, threads, [&](std::int64_t i, int thread) {
        Tile& tile = tiles[static_cast<std::size_t>(thread)];
        for (std::int64_t j = 0; j < across; ++j) {
            const std::int64_t t = i * across + j;
            std::uint32_t* out = words + std::int64_t{csl_vector} * offsets[t];
            read(tile, entries, rows, cols, i * csl_rows, j * csl_cols);
            const std::int64_t vectors = offsets[t + 1] - offsets[t], count = static_cast<std::int64_t>(tile.words.size());
            for (std::int64_t pad = count; pad < csl_vector * vectors; ++pad) {
                if (!reorder) {
                    tile.words.push_back(static_cast<std::uint32_t>(tile.first_zero) << 16);
                    continue;
                }
                const int bank = shortest(tile);
                tile.lists[bank].push_back(static_cast<std::uint32_t>(tile.zero[bank]) << 16);
            }
            if (reorder)
                deal(tile, out, vectors);
            else
                for (std::size_t w = 0; w < tile.words.size(); ++w) out[w] = tile.words[w];
        }
    });
}

} // namespace gossamer::lscd
