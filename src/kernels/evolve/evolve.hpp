// A training step of a sparse layer, and the evolution of its topology. Matrices of activations are (features, batch).
// Flops: update 2 m an entry; noise about 30 a value; activate about 20.
#pragma once

#include <cstdint>

namespace gossamer::evolve {

enum class Activation : int { linear, sigmoid, tanh, relu, leaky_relu };

struct Drop { // a unit of a column is dropped where a hash of (seed, unit, column) falls below `below` / 2^32
    std::uint64_t seed;
    std::uint64_t below;
};

struct Nonlinearity {
    Activation kind;
    double slope; // of leaky_relu below zero
    Drop drop;
};

struct Step {
    double rate, momentum, decay;
};

template <class Real>
struct Layer { // stored by outputs: row j holds the inputs of unit j
    std::int64_t outputs;
    const std::int32_t* start; // (outputs + 1)
    const std::int32_t* input;
    Real *value, *velocity;
    Real *bias, *bias_velocity; // (outputs)
};

template <class Real>
struct Entry {
    // out = clean + sd * normal(seed, feature, id of the column)
    void (*noise)(const Real* clean, std::int64_t features, std::int64_t m, const std::int64_t* ids,
                  std::uint64_t seed, Real sd, Real* out, int threads);
    // z = mask * f(z + bias)
    void (*activate)(Real* z, const Real* bias, std::int64_t units, std::int64_t m, const Nonlinearity&, int threads);
    // d *= mask * f'(...), from the values a = f(...)
    void (*derive)(Real* d, const Real* a, std::int64_t units, std::int64_t m, const Nonlinearity&, int threads);
    // velocity = momentum * velocity - rate * gradient; value += velocity - decay * value; gradient: mean over columns
    void (*update)(const Layer<Real>&, const Real* u, const Real* d, std::int64_t m, const Step&, int threads);
};

struct Table {
    Entry<float> float32;
    Entry<double> float64;
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

// keep[e] = 0 for the share of positive values closest to zero, likewise of negative ones, and for zeros; returns how
// many are kept.
template <class Real>
std::int64_t prune(const Real* value, std::int64_t count, double share, std::uint8_t* keep);

template <class Real>
struct Entries { // rows of ascending columns
    std::int64_t rows, columns;
    std::int32_t *start, *column;
    Real *value, *velocity;
};

// The kept entries of `old`, and `added` new ones with velocity 0 at the places that are ranks[0] < ranks[1] < ... among
// the empty ones in order of rows.
template <class Real>
void regrow(const Entries<Real>& old, const std::uint8_t* keep, const std::int64_t* ranks, const Real* values,
            std::int64_t added, const Entries<Real>& out);

// The order by columns: pointers, rows, and where each of its entries stands in the order by rows.
void transpose(const std::int32_t* start, const std::int32_t* column, std::int64_t rows, std::int64_t columns,
               std::int32_t* twin_start, std::int32_t* twin_row, std::int32_t* source);

} // namespace gossamer::evolve
