// Back end of the sparse transform. Bin j of group c holds u[p] = sum over k with M_c^T k = j of X[k] (-1)^<d_p, k>;
// a bin with one term gives k and X[k] away, and taking them out of all groups uncovers others.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace gossamer::walsh {

using Word = std::uint64_t; // a vector of at most 62 bits

enum class Detector { rows, coded, brute }; // signs of unit rows or of a BCH check, a linear code, all of a coset

struct Sketch {
    int n, bits, groups, offsets; // 2^bits bins a group
    const Word* columns;          // (groups, bits): M_c
    const Word* shifts;           // (groups, offsets): d_{c,p}
    double* bins;                 // (groups, 2^bits, offsets)
    std::int64_t size() const { return std::int64_t{1} << bits; }
    double* bin(int group, std::int64_t j) const { return bins + ((group << bits) + j) * offsets; }
    Word hash(int group, Word k) const;
};

struct Settings {
    Detector detector;
    int rows;       // rows: signs that follow each base offset
    int bch_bits;   // rows: degree of the field of the BCH code, 0 for unit rows
    bool soft;      // rows: weigh votes by magnitude
    int order;      // coded: positions that are flipped together
    int max_degree; // largest number of ones in k
    double empty;   // a bin whose mean square is at most this is empty
    double single;  // and one whose mean square is at most this once a term is gone held only that
    double floor;   // least amplitude squared of a term
    bool average;   // over the groups that report one k in one round
    int threads;
};

struct Term {
    Word k;
    double value;
};

struct Found {
    bool single;
    Term term;
};

struct Peeled {
    std::vector<Term> terms; // a k may come more than once: its values add up
    int rounds;
};

// Detection in one group; what depends on the group alone is worked out once.
class Reader {
public:
    Reader(const Sketch& sketch, int group, const Settings& settings);
    Found read(std::int64_t j) const;

private:
    Found judge(std::int64_t j, Word k) const;
    bool from_rows(const double* u, Word& k) const;
    bool from_code(const double* u, std::int64_t j, Word& k) const;
    bool from_coset(const double* u, std::int64_t j, Word& k) const;
    Word lift(std::int64_t j) const;                                    // some k of the bin
    void signed_by(Word k, const double* u, double* out) const;          // out[p] = (-1)^<d_p, k> u[p]

    const Sketch& sketch_;
    const Settings& settings_;
    int group_, words_; // an entry's bit p lies in word p / 64
    std::vector<Word> lifts_;   // (bits): M^T lifts[i] = e_i
    std::vector<Word> kernel_;  // (n - bits): a basis of the k with M^T k = 0
    std::vector<Word> symbols_; // (offsets): [1 | <d_p, kernel>], what the code tells of (sign, z) at p
    std::vector<Word> by_bit_;  // (n, words): bit i of all offsets
    std::vector<Word> code_;    // (1 + kernel, words): the symbols by columns, a generator of the code
};

void subtract(const Sketch& sketch, const Term* terms, std::int64_t count, int threads);
Peeled peel(const Sketch& sketch, const Settings& settings);
bool decode_bch(int field_bits, int errors, Word syndrome, int length, Word& k); // at most `errors` ones in k

inline int parity(Word x) {
    x ^= x >> 32;
    x ^= x >> 16;
    x ^= x >> 8;
    x ^= x >> 4;
    return static_cast<int>(0x6996u >> (x & 15)) & 1;
}

} // namespace gossamer::walsh
