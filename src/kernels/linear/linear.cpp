#include "linear.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace gossamer::linear {
namespace {

constexpr std::size_t chunk_bytes = std::size_t(32) << 20, huge_page = std::size_t(2) << 20;

struct Chunk {
    std::uint8_t* memory = nullptr;
    std::size_t size = 0, used = 0;
    std::atomic<int> users{0};

    explicit Chunk(std::size_t bytes) : size((bytes + huge_page - 1) / huge_page * huge_page) {
        memory = static_cast<std::uint8_t*>(std::aligned_alloc(huge_page, size));
        if (!memory) throw std::bad_alloc();
#if defined(__linux__)
        madvise(memory, size, MADV_HUGEPAGE); // the hardware prefetcher stops at page borders
#endif
    }
    ~Chunk() { std::free(memory); }
};

void release(Chunk* chunk) {
    if (chunk && chunk->users.fetch_sub(1) == 1) delete chunk;
}

std::mutex arena_mutex;
Chunk* arena = nullptr; // the arena itself is one user of its open chunk

} // namespace

Buffer::Buffer(std::size_t bytes) : size_(bytes) {
    const std::size_t rounded = (bytes + 64 + 63) / 64 * 64; // kernels may read one vector past the end
    std::lock_guard lock(arena_mutex);
    Chunk* chunk = arena;
    if (rounded > chunk_bytes / 4) {
        chunk = new Chunk(rounded);
    } else if (!chunk || chunk->size - chunk->used < rounded) {
        chunk = new Chunk(chunk_bytes);
        release(arena);
        arena = chunk;
        chunk->users = 1;
    }
    data_ = chunk->memory + chunk->used;
    chunk->used += rounded;
    chunk->users.fetch_add(1);
    chunk_ = chunk;
    std::fill_n(static_cast<std::uint8_t*>(data_), rounded, std::uint8_t(0));
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
    std::swap(chunk_, other.chunk_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

Buffer::~Buffer() { release(static_cast<Chunk*>(chunk_)); }

float* scratch(std::size_t floats) {
    thread_local Buffer memory;
    if (memory.size() < floats * sizeof(float)) memory = Buffer(floats * sizeof(float));
    return memory.as<float>();
}

Activation Activation::token(int index) const {
    const std::int64_t t = index;
    Activation other = *this;
    other.tile_q = nullptr; // tiles begin at multiples of 8 of the whole
    other.tokens = tokens - index;
    other.x += t * stride;
    if (q) {
        other.q += t * blocks * act_block;
        other.scale += t * blocks;
        other.sum += t * blocks;
        other.half += t * 2 * blocks;
        other.mean += t * 2 * blocks;
    }
    return other;
}

ActivationBuffer::ActivationBuffer(int tokens, int cols, bool quantised, bool tiled)
    : cols_(cols), blocks_((cols + act_block - 1) / act_block), quantised_(quantised), tiled_(quantised && tiled),
      x_(sizeof(float) * tokens * cols) {
    if (!quantised) return;
    const std::size_t blocks = static_cast<std::size_t>(tokens) * blocks_;
    q_ = Buffer(blocks * act_block);
    scale_ = Buffer(4 * blocks);
    sum_ = Buffer(4 * blocks);
    half_ = Buffer(8 * blocks);
    mean_ = Buffer(8 * blocks);
    if (!tiled_) return;
    const std::size_t padded = static_cast<std::size_t>((tokens + tile_tokens - 1) / tile_tokens) * tile_tokens * blocks_;
    tile_q_ = Buffer(padded * act_block);
    tile_scale_ = Buffer(4 * padded);
    tile_sum_ = Buffer(4 * padded);
    tile_half_ = Buffer(8 * padded);
}

void ActivationBuffer::quantise(int token) { quantise(token, 0, cols_); }

void ActivationBuffer::quantise(int token, int first, int last) {
    if (!quantised_) return;
    const std::int64_t at = static_cast<std::int64_t>(token) * blocks_ + first / act_block;
    table().quantise(x(token) + first, last - first, q_.as<std::int8_t>() + at * act_block, scale_.as<float>() + at,
                     sum_.as<std::int32_t>() + at, half_.as<std::int32_t>() + 2 * at, mean_.as<float>() + 2 * at);
}

void ActivationBuffer::pack(int tile, int tokens) {
    if (!tiled_) return;
    const int present = std::min(tile_tokens, tokens - tile * tile_tokens);
    const std::int64_t from = static_cast<std::int64_t>(tile) * tile_tokens * blocks_, words = blocks_ * act_block / 4;
    const auto* q = q_.as<std::int32_t>() + from * act_block / 4; // four codes at a time
    auto* to = tile_q_.as<std::int32_t>() + from * act_block / 4;
    for (std::int64_t k = 0; k < words; ++k)
        for (int t = 0; t < tile_tokens; ++t) to[k * tile_tokens + t] = t < present ? q[t * words + k] : 0;
    const auto turn = [&](const auto* rows, auto* columns, int width) {
        for (int b = 0; b < width; ++b)
            for (int t = 0; t < tile_tokens; ++t) columns[b * tile_tokens + t] = t < present ? rows[t * width + b] : 0;
    };
    turn(scale_.as<float>() + from, tile_scale_.as<float>() + from, blocks_);
    turn(sum_.as<std::int32_t>() + from, tile_sum_.as<std::int32_t>() + from, blocks_);
    turn(half_.as<std::int32_t>() + 2 * from, tile_half_.as<std::int32_t>() + 2 * from, 2 * blocks_);
}

Activation ActivationBuffer::view(int tokens) const {
    Activation a;
    a.tokens = tokens;
    a.cols = cols_;
    a.stride = cols_;
    a.x = x_.as<float>();
    a.blocks = blocks_;
    if (quantised_) {
        a.q = q_.as<std::int8_t>();
        a.scale = scale_.as<float>();
        a.sum = sum_.as<std::int32_t>();
        a.half = half_.as<std::int32_t>();
        a.mean = mean_.as<float>();
    }
    if (tiled_) {
        a.tile_q = tile_q_.as<std::int8_t>();
        a.tile_scale = tile_scale_.as<float>();
        a.tile_sum = tile_sum_.as<std::int32_t>();
        a.tile_half = tile_half_.as<std::int32_t>();
    }
    return a;
}

Linear::~Linear() = default;

const Linear* Linear::right() const { return nullptr; }

const Linear* Linear::left() const { return nullptr; }

Product::Product(const Linear& a, int max_tokens)
    : a_(&a), units_per_range_(std::max(1, a.units() / 256)),
      side_(a.right() ? sizeof(float) * max_tokens * a.right()->rows : 0) {}

void Product::bind(const Activation& x, float* y, std::int64_t stride) {
    x_ = &x;
    y_ = y;
    stride_ = stride;
    if (!a_->right()) return;
    side_view_.tokens = x.tokens;
    side_view_.cols = a_->right()->rows;
    side_view_.stride = side_view_.cols;
    side_view_.x = side_.as<float>();
    side_view_.blocks = (side_view_.cols + act_block - 1) / act_block;
}

int Product::ranges() const { return (a_->units() + units_per_range_ - 1) / units_per_range_; }

int Product::main_tasks() const { return ranges() + (a_->right() ? a_->right()->units() : 0); }

int Product::first_row(int task) const { return task * units_per_range_ * unit_rows; }

int Product::last_row(int task) const { return std::min(a_->rows, (task + 1) * units_per_range_ * unit_rows); }

void Product::run(int task) {
    const int own = ranges();
    if (task < own)
        a_->run(task * units_per_range_, std::min(a_->units(), (task + 1) * units_per_range_), *x_, y_, stride_);
    else
        a_->right()->run(task - own, task - own + 1, *x_, side_.as<float>(), side_view_.stride);
}

void Product::finish(int task) {
    const int first = first_row(task), last = last_row(task), count = units_per_range_ * unit_rows;
    const Linear& left = *a_->left();
    float* term = scratch(static_cast<std::size_t>(x_->tokens) * count);
    // the term's rows start at `first`, so its origin lies that far before the scratch memory
    for (int unit = first / unit_rows; unit * unit_rows < last; ++unit)
        left.run(unit, unit + 1, side_view_, term - first, count);
    for (int token = 0; token < x_->tokens; ++token)
        for (int row = first; row < last; ++row)
            y_[token * stride_ + row] += term[static_cast<std::int64_t>(token) * count + row - first];
}

const Table& table() { return GOSSAMER_SELECT_DOT(linear); }

namespace {

class LowRankSum final : public Linear {
public:
    LowRankSum(const Linear* base, const Linear* left, const Linear* right)
        : Linear(base->rows, base->cols, base->kernel), base_(base), left_(left), right_(right) {}

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        base_->run(first, last, x, y, stride);
    }
    void row(int index, float* out) const override {
        base_->row(index, out);
        std::vector<float> weights(right_->rows), term(cols);
        left_->row(index, weights.data());
        for (int k = 0; k < right_->rows; ++k) {
            right_->row(k, term.data());
            for (int j = 0; j < cols; ++j) out[j] += weights[k] * term[j];
        }
    }
    std::size_t bytes() const override { return base_->bytes() + left_->bytes() + right_->bytes(); }
    const Linear* right() const override { return right_; }
    const Linear* left() const override { return left_; }

private:
    const Linear *base_, *left_, *right_;
};

class Nothing final : public Linear {
public:
    using Linear::Linear;

    void run(int first, int last, const Activation& x, float* y, std::int64_t stride) const override {
        const int end = std::min(rows, last * unit_rows);
        for (int token = 0; token < x.tokens; ++token)
            std::fill(y + token * stride + first * unit_rows, y + token * stride + end, 0.0f);
    }
    void row(int, float* out) const override { std::fill_n(out, cols, 0.0f); }
    std::size_t bytes() const override { return 0; }
};

} // namespace

Linear* nothing(int rows, int cols, const char* kernel) { return new Nothing(rows, cols, kernel); }

Linear* with_low_rank(const Linear* base, const Linear* left, const Linear* right) {
    return new LowRankSum(base, left, right);
}

} // namespace gossamer::linear
