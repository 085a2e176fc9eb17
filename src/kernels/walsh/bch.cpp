// Syndrome decoding of binary BCH codes of length 2^m - 1, m <= 6, by Berlekamp-Massey and a search for roots.
#include "sparse.hpp"

#include <array>

namespace gossamer::walsh {
namespace {

class Field { // GF(2^m) by logarithms
public:
    explicit Field(int bits) : order_((1 << bits) - 1) {
        constexpr int polynomials[] = {0, 3, 7, 11, 19, 37, 67}; // primitive
        int value = 1;
        for (int i = 0; i < order_; ++i) {
            power_[i] = value;
            log_[value] = i;
            value <<= 1;
            if (value > order_) value ^= polynomials[bits];
        }
    }
    int power(int exponent) const { return power_[exponent % order_]; }
    int times(int a, int b) const { return a && b ? power_[(log_[a] + log_[b]) % order_] : 0; }
    int over(int a, int b) const { return a ? power_[(log_[a] + order_ - log_[b]) % order_] : 0; }

private:
    int order_;
    std::array<int, 64> power_{}, log_{};
};

} // namespace

bool decode_bch(int bits, int errors, Word syndrome, int length, Word& k) {
    const Field field(bits);
    const int count = 2 * errors;
    std::array<int, 130> s{}; // s[i] = sum over ones of alpha^(i position), i from 1; even ones are squares
    for (int i = 1; i <= count; i += 2) s[i] = static_cast<int>((syndrome >> ((i / 2) * bits)) & ((1u << bits) - 1));
    for (int i = 2; i <= count; i += 2) s[i] = field.times(s[i / 2], s[i / 2]);

    std::array<int, 130> locator{}, older{}, kept{};
    locator[0] = older[0] = 1;
    int degree = 0, gap = 1, scale = 1;
    for (int step = 0; step < count; ++step) {
        int discrepancy = s[step + 1];
        for (int i = 1; i <= degree; ++i) discrepancy ^= field.times(locator[i], s[step + 1 - i]);
        if (!discrepancy) {
            ++gap;
            continue;
        }
        kept = locator;
        const int factor = field.over(discrepancy, scale);
        for (int i = 0; i + gap < 130; ++i) locator[i + gap] ^= field.times(factor, older[i]);
        if (2 * degree <= step) {
            degree = step + 1 - degree;
            older = kept;
            scale = discrepancy;
            gap = 1;
        } else {
            ++gap;
        }
    }
    if (degree > errors) return false;
    k = 0;
    int roots = 0;
    const int order = (1 << bits) - 1;
    for (int position = 0; position < order; ++position) {
        int value = 0;
        for (int i = 0; i <= degree; ++i) value ^= field.times(locator[i], field.power(i * (order - position)));
        if (value) continue;
        if (position >= length) return false;
        k |= Word{1} << position;
        ++roots;
    }
    return roots == degree;
}

} // namespace gossamer::walsh
