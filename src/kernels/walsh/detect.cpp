// What one bin holds: nothing, one term, or more than one.
#include "sparse.hpp"
#include "walsh.hpp"

#include "../dispatch/isa.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace gossamer::walsh {
namespace {

constexpr Word one = 1;

double mean_square(const double* u, int count) {
    double sum = 0;
    for (int p = 0; p < count; ++p) sum += u[p] * u[p];
    return sum / count;
}

// Bit i of every word, packed along the words: (bits, words)
std::vector<Word> columns_of(const Word* rows, int count, int bits) {
    const int words = (count + 63) / 64;
    std::vector<Word> out(static_cast<std::size_t>(bits) * words);
    for (int p = 0; p < count; ++p)
        for (Word rest = rows[p]; rest; rest &= rest - 1)
            out[__builtin_ctzll(rest) * words + p / 64] |= one << (p % 64);
    return out;
}

} // namespace

Word Sketch::hash(int group, Word k) const {
    Word j = 0;
    for (int i = 0; i < bits; ++i) j |= static_cast<Word>(parity(columns[group * bits + i] & k)) << i;
    return j;
}

Reader::Reader(const Sketch& sketch, int group, const Settings& settings)
    : sketch_(sketch), settings_(settings), group_(group), words_((sketch.offsets + 63) / 64), lifts_(sketch.bits) {
    // Gauss-Jordan on M^T, rows of n bits; `mix` tells which equations a row is the sum of.
    std::vector<Word> row(sketch.columns + group * sketch.bits, sketch.columns + (group + 1) * sketch.bits);
    std::vector<Word> mix(row.size());
    std::vector<int> pivot(row.size());
    for (std::size_t i = 0; i < row.size(); ++i) mix[i] = one << i;
    Word pivots = 0;
    for (std::size_t i = 0; i < row.size(); ++i) {
        pivot[i] = __builtin_ctzll(row[i]); // full rank: what is left of a row is not zero
        pivots |= one << pivot[i];
        for (std::size_t r = 0; r < row.size(); ++r)
            if (r != i && (row[r] >> pivot[i]) & 1) {
                row[r] ^= row[i];
                mix[r] ^= mix[i];
            }
    }
    for (int bit = 0; bit < sketch.bits; ++bit)
        for (std::size_t i = 0; i < row.size(); ++i)
            if ((mix[i] >> bit) & 1) lifts_[bit] |= one << pivot[i];
    for (int free = 0; free < sketch.n; ++free) {
        if ((pivots >> free) & 1) continue;
        Word k = one << free;
        for (std::size_t i = 0; i < row.size(); ++i)
            if ((row[i] >> free) & 1) k |= one << pivot[i];
        kernel_.push_back(k);
    }
    for (int p = 0; p < sketch.offsets; ++p) {
        const Word d = sketch.shifts[group * sketch.offsets + p];
        Word symbol = 1;
        for (std::size_t i = 0; i < kernel_.size(); ++i) symbol |= static_cast<Word>(parity(d & kernel_[i])) << (i + 1);
        symbols_.push_back(symbol);
    }
    const Word* d = sketch.shifts + group * sketch.offsets;
    by_bit_ = columns_of(d, sketch.offsets, sketch.n);
    code_ = columns_of(symbols_.data(), sketch.offsets, static_cast<int>(kernel_.size()) + 1);
}

void Reader::signed_by(Word k, const double* u, double* out) const {
    for (int w = 0; w < words_; ++w) {
        Word minus = 0;
        for (Word rest = k; rest; rest &= rest - 1) minus ^= by_bit_[__builtin_ctzll(rest) * words_ + w];
        const int last = std::min(64, sketch_.offsets - 64 * w);
        for (int p = 0; p < last; ++p) out[64 * w + p] = (minus >> p) & 1 ? -u[64 * w + p] : u[64 * w + p];
    }
}

Word Reader::lift(std::int64_t j) const {
    Word k = 0;
    for (int i = 0; i < sketch_.bits; ++i)
        if ((j >> i) & 1) k ^= lifts_[i];
    return k;
}

Found Reader::read(std::int64_t j) const {
    const double* u = sketch_.bin(group_, j);
    if (mean_square(u, sketch_.offsets) <= settings_.empty) return {};
    Word k = 0;
    const bool any = settings_.detector == Detector::rows    ? from_rows(u, k)
                     : settings_.detector == Detector::coded ? from_code(u, j, k)
                                                             : from_coset(u, j, k);
    return any ? judge(j, k) : Found{};
}

Found Reader::judge(std::int64_t j, Word k) const {
    if (__builtin_popcountll(k) > settings_.max_degree || sketch_.hash(group_, k) != static_cast<Word>(j)) return {};
    std::vector<double> v(sketch_.offsets);
    signed_by(k, sketch_.bin(group_, j), v.data());
    double value = 0, rest = 0;
    for (double x : v) value += x;
    value /= sketch_.offsets;
    for (double x : v) rest += (x - value) * (x - value);
    return {rest <= settings_.single * sketch_.offsets && value * value >= settings_.floor, {k, value}};
}

// Runs of a base offset and its neighbours: the product of two entries has the sign of one bit (or check) of k.
bool Reader::from_rows(const double* u, Word& k) const {
    const int run = settings_.rows + 1;
    Word word = 0;
    for (int i = 0; i < settings_.rows; ++i) {
        double votes = 0;
        for (const double* base = u; base < u + sketch_.offsets; base += run) {
            const double product = base[0] * base[i + 1];
            votes += settings_.soft ? product : (product > 0) - (product < 0);
        }
        word |= static_cast<Word>(votes < 0) << i;
    }
    if (!settings_.bch_bits) return k = word, true;
    return decode_bch(settings_.bch_bits, settings_.rows / settings_.bch_bits, word, sketch_.n, k);
}

// Ordered statistics: solve for (sign, z) from the most reliable independent signs, then try what few flips give.
bool Reader::from_code(const double* u, std::int64_t j, Word& k) const {
    const int length = sketch_.offsets;
    const int unknowns = static_cast<int>(kernel_.size()) + 1;
    const Word known = lift(j);
    std::vector<double> v(length);
    signed_by(known, u, v.data());
    std::vector<int> order(length);
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](int a, int b) {
        const double x = std::abs(v[a]), y = std::abs(v[b]);
        return x != y ? x > y : a < b;
    });
    // rows reduced to the identity: bit `pivot[i]` of the unknowns is the parity of the signs named in mix[i]
    std::vector<Word> row, mix;
    std::vector<int> pivot;
    Word signs = 0; // hard decisions at the basis
    for (int p : order) {
        Word left = symbols_[p], sum = one << row.size();
        for (std::size_t i = 0; i < row.size(); ++i)
            if ((left >> pivot[i]) & 1) {
                left ^= row[i];
                sum ^= mix[i];
            }
        if (!left) continue;
        const int at = __builtin_ctzll(left);
        for (std::size_t i = 0; i < row.size(); ++i)
            if ((row[i] >> at) & 1) {
                row[i] ^= left;
                mix[i] ^= sum;
            }
        if (v[p] < 0) signs |= one << row.size();
        row.push_back(left);
        mix.push_back(sum);
        pivot.push_back(at);
        if (static_cast<int>(row.size()) == unknowns) break;
    }
    if (static_cast<int>(row.size()) < unknowns) return false;
    Word start = 0;
    std::vector<Word> flips(unknowns); // how the unknowns change with one hard decision
    for (int i = 0; i < unknowns; ++i) {
        start |= static_cast<Word>(parity(mix[i] & signs)) << pivot[i];
        for (int b = 0; b < unknowns; ++b)
            if ((mix[i] >> b) & 1) flips[b] |= one << pivot[i];
    }
    // correlation with every codeword that differs in at most `order` decisions
    const auto codeword = [&](Word solution, Word* out) {
        for (; solution; solution &= solution - 1)
            for (int w = 0; w < words_; ++w) out[w] ^= code_[__builtin_ctzll(solution) * words_ + w];
    };
    std::vector<Word> changed(static_cast<std::size_t>(unknowns) * words_), pattern(words_);
    for (int b = 0; b < unknowns; ++b) codeword(flips[b], changed.data() + b * words_);
    codeword(start, pattern.data());
    double base = 0;
    for (int p = 0; p < length; ++p) {
        if ((pattern[p / 64] >> (p % 64)) & 1) v[p] = -v[p];
        base += v[p];
    }
    std::fill(pattern.begin(), pattern.end(), 0);
    Word best = start;
    double top = base;
    const auto search = [&](auto&& self, int from, int left, Word solution) -> void {
        for (int b = from; b < unknowns; ++b) {
            double lost = 0;
            for (int w = 0; w < words_; ++w) {
                pattern[w] ^= changed[b * words_ + w];
                for (Word bits = pattern[w]; bits; bits &= bits - 1) lost += v[w * 64 + __builtin_ctzll(bits)];
            }
            if (base - 2 * lost > top) {
                top = base - 2 * lost;
                best = solution ^ flips[b];
            }
            if (left > 1) self(self, b + 1, left - 1, solution ^ flips[b]);
            for (int w = 0; w < words_; ++w) pattern[w] ^= changed[b * words_ + w];
        }
    };
    if (settings_.order > 0) search(search, 0, settings_.order, start);
    k = known;
    for (int i = 0; i + 1 < unknowns; ++i)
        if ((best >> (i + 1)) & 1) k ^= kernel_[i];
    return true;
}

// Every k of the bin: its correlations are one transform of u scattered to the offsets' coordinates.
bool Reader::from_coset(const double* u, std::int64_t j, Word& k) const {
    const int free = static_cast<int>(kernel_.size());
    const Word known = lift(j);
    std::vector<double> v(sketch_.offsets), score(std::size_t{1} << free);
    signed_by(known, u, v.data());
    for (int p = 0; p < sketch_.offsets; ++p) score[symbols_[p] >> 1] += v[p];
    GOSSAMER_SELECT(walsh).float64(score.data(), score.data(), {1, free, 1}, 1.0, 1);
    std::size_t best = 0;
    for (std::size_t z = 1; z < score.size(); ++z)
        if (std::abs(score[z]) > std::abs(score[best])) best = z;
    k = known;
    for (int i = 0; i < free; ++i)
        if ((best >> i) & 1) k ^= kernel_[i];
    return true;
}

} // namespace gossamer::walsh
