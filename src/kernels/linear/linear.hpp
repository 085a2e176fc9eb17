// Prepared linear maps: weights repacked once for the machine, then multiplied with activations millions of times.
//
// A product is cut into units of 32 rows. The cut depends on the matrix only, so results do not depend on the
// number of threads; no class here starts a thread. This header is the same for every ISA: nothing in it that a
// compiler could emit twice with different instructions.
#pragma once

#include "../dispatch/isa.hpp"

#include <cstddef>
#include <cstdint>

namespace gossamer::linear {

inline constexpr int unit_rows = 32;
inline constexpr int act_block = 32; // activations share one scale in blocks of 32 along K
inline constexpr int tile_tokens = 8;

// Zeroed memory on a 64-byte border, cut from large chunks that ask for huge pages.
class Buffer {
public:
    Buffer() = default;
    explicit Buffer(std::size_t bytes);
    Buffer(Buffer&& other) noexcept;
    Buffer& operator=(Buffer&& other) noexcept;
    ~Buffer();

    template <class T>
    T* as() { return static_cast<T*>(data_); }
    template <class T>
    const T* as() const { return static_cast<const T*>(data_); }
    std::size_t size() const { return size_; }

private:
    void* chunk_ = nullptr;
    void* data_ = nullptr;
    std::size_t size_ = 0;
};

float* scratch(std::size_t floats); // this thread's own, valid until its next call

// Activations of `tokens` columns, token-major. `x` is always there; `q` (int8, padded with zeros to whole blocks)
// and what belongs to it only when products may use int8.
struct Activation {
    int tokens = 0, cols = 0;
    std::int64_t stride = 0; // floats between tokens of x
    const float* x = nullptr;
    int blocks = 0;                     // ceil(cols / 32)
    const std::int8_t* q = nullptr;     // (tokens, 32 blocks)
    const float* scale = nullptr;       // (tokens, blocks): x ~ scale q
    const std::int32_t* sum = nullptr;  // (tokens, blocks): minus the sum of q
    const std::int32_t* half = nullptr; // (tokens, 2 blocks): minus the sum of q over 16
    const float* mean = nullptr;        // (tokens, 2 blocks): scale times the sum of q over 16

    // The same by tiles of 8 tokens, for many tokens; null unless packed. Missing tokens are zeros.
    const std::int8_t* tile_q = nullptr;     // (tiles, 8 blocks, 8 tokens, 4)
    const float* tile_scale = nullptr;       // (tiles, blocks, 8)
    const std::int32_t* tile_sum = nullptr;  // (tiles, blocks, 8)
    const std::int32_t* tile_half = nullptr; // (tiles, 2 blocks, 8)

    Activation token(int index) const; // from this token on
};

// Memory for an Activation and its quantisation.
class ActivationBuffer {
public:
    ActivationBuffer() = default;
    ActivationBuffer(int tokens, int cols, bool quantised, bool tiled = false);
    float* x(int token) { return x_.as<float>() + static_cast<std::int64_t>(token) * cols_; }
    void quantise(int token); // after x(token) is written; does nothing in the float path
    void quantise(int token, int first, int last); // columns from a multiple of 32 on
    void pack(int tile, int tokens); // after quantise() of the tile's tokens below `tokens`; only if tiled
    Activation view(int tokens) const;

private:
    int cols_ = 0, blocks_ = 0;
    bool quantised_ = false, tiled_ = false;
    Buffer x_, q_, scale_, sum_, half_, mean_, tile_q_, tile_scale_, tile_sum_, tile_half_;
};

class Linear {
public:
    Linear(int rows, int cols, const char* kernel) : rows(rows), cols(cols), kernel(kernel) {}
    virtual ~Linear();

    // y[token * stride + row] = (A x)[row, token] for the rows of units [first, last)
    virtual void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const = 0;
    virtual void row(int index, float* out) const = 0; // one row, dense
    virtual std::size_t bytes() const = 0;             // weight bytes that one product reads

    // A sum with a low-rank term: run() leaves out left (right x), see Product.
    virtual const Linear* right() const; // null unless it is one
    virtual const Linear* left() const;

    int units() const { return (rows + unit_rows - 1) / unit_rows; }

    const int rows, cols;
    const char* const kernel;
};

// A matrix product inside a phase: tasks [0, tasks()) first; then, if finishing(), a second phase of finish().
class Product {
public:
    Product() = default;
    Product(const Linear& a, int max_tokens);
    void bind(const Activation& x, float* y, std::int64_t stride);

    int main_tasks() const; // one a range of units; a low-rank factor adds some
    void run(int task);     // returns with the rows of the range written, low rank left out
    bool finishing() const { return a_->left() != nullptr; }
    void finish(int task); // adds the low-rank term to the rows of a range, after all of run()

    int ranges() const; // run(task) with task < ranges() writes rows [first_row, last_row)
    int first_row(int task) const;
    int last_row(int task) const;
    const Linear& matrix() const { return *a_; }
    float* y() const { return y_; }
    std::int64_t stride() const { return stride_; }

private:
    const Linear* a_ = nullptr;
    int units_per_range_ = 1;
    const Activation* x_ = nullptr;
    float* y_ = nullptr;
    std::int64_t stride_ = 0;
    Buffer side_;
    Activation side_view_;
};

// Factors as files hold them. Sizes are checked by the caller.
struct GroupQuant {
    int rows, cols, bits, group; // group: entries that share a scale; >= cols means one a row
    const std::uint8_t* qweight;
    const std::uint16_t* scale;
    const std::uint8_t* zero_int;    // packed, flat; or null
    const std::uint16_t* zero_float; // scale times zero, one a group; or null: symmetric
};

struct GroupSparseQuant {
    GroupQuant codes; // rows are ignored: qweight, scale and zero run over the kept groups
    const std::int32_t* row_ptr;
    const std::uint16_t* col;
};

struct NMEntries {
    int n, m; // m at most 4: positions take 2 bits
    enum Type { float32, float16, bfloat16 } type;
    const void* values;            // (rows, kept)
    const std::uint8_t* positions; // (rows, ceil(kept / 4))
};

// Rows in blocks of 16, [block][step][16]. Row i of a block takes x[start + k period + i % period] at step k < depth,
// and at the last `tail` steps the last `tail` entries of x.
struct BlockRows {
    int rows, cols, period, tail; // period: 1, 2, 4, 8 or 16
    const std::int32_t *start, *depth;
    const void* weight; // float32, or raw bfloat16
    std::int64_t count;
    bool bfloat16;
};

struct Table {
    Linear* (*dense_f32)(int rows, int cols, const float* weight);
    Linear* (*dense_bf16)(int rows, int cols, const std::uint16_t* weight);
    Linear* (*group_quant)(const GroupQuant&);              // group a multiple of 16, or one a row
    Linear* (*group_sparse_quant)(int rows, int cols, const GroupSparseQuant&); // group a multiple of 16
    Linear* (*bitmap)(int rows, int cols, const float* weight); // zeros are not stored
    Linear* (*nm)(int rows, int cols, const NMEntries&);
    Linear* (*blocks)(const BlockRows&);
    void (*quantise)(const float* x, int cols, std::int8_t* q, float* scale, std::int32_t* sum, std::int32_t* half,
                     float* mean);
};

extern const Table portable_table, avx2_table, avx512_table, neon_table, neon_dot_table;
const Table& table(); // of the active ISA

// base + left right; takes ownership of none
Linear* with_low_rank(const Linear* base, const Linear* left, const Linear* right);
Linear* nothing(int rows, int cols, const char* kernel); // zeros, for a chain left right to be added to

} // namespace gossamer::linear
