#include "model.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

namespace gossamer::decoder {
namespace {

void fits(const std::string& name, const Matrix& matrix, int rows, int cols) {
    if (!matrix || !matrix->linear) throw std::invalid_argument(name + " is missing");
    if (matrix->linear->rows != rows || matrix->linear->cols != cols)
        throw std::invalid_argument(name + " has shape (" + std::to_string(matrix->linear->rows) + ", " +
                                    std::to_string(matrix->linear->cols) + "): expected (" + std::to_string(rows) +
                                    ", " + std::to_string(cols) + ")");
}

void fits(const std::string& name, const std::vector<float>& norm, int size) {
    if (norm.size() != static_cast<std::size_t>(size))
        throw std::invalid_argument(name + " has " + std::to_string(norm.size()) + " entries: expected " +
                                    std::to_string(size));
}

void within(const char* name, int value, int high) {
    if (value < 1 || value > high)
        throw std::invalid_argument(std::string(name) + "=" + std::to_string(value) + ": expected 1.." +
                                    std::to_string(high));
}

} // namespace

void Model::check() const {
    const Config& c = config;
    within("layers", c.layers, 4096);
    within("hidden", c.hidden, 1 << 20);
    within("inner", c.inner, 1 << 20);
    within("heads", c.heads, 4096);
    within("kv_heads", c.kv_heads, c.heads);
    within("head_dim", c.head_dim, 4096);
    within("vocabulary", c.vocabulary, 1 << 24);
    within("max_context", c.max_context, 1 << 20);
    if (c.heads % c.kv_heads) throw std::invalid_argument("heads must be a multiple of kv_heads");
    if (c.head_dim % 2) throw std::invalid_argument("head_dim must be even");
    if (!(c.eps > 0) || !(c.rope_theta > 0)) throw std::invalid_argument("eps and rope_theta must be positive");
    if (layers.size() != static_cast<std::size_t>(c.layers)) throw std::invalid_argument("layers are missing");
    const int q = c.heads * c.head_dim, kv = c.kv_heads * c.head_dim;
    for (int i = 0; i < c.layers; ++i) {
        const Layer& l = layers[i];
        const std::string at = "layer " + std::to_string(i) + " ";
        fits(at + "q_proj", l.q, q, c.hidden);
        fits(at + "k_proj", l.k, kv, c.hidden);
        fits(at + "v_proj", l.v, kv, c.hidden);
        fits(at + "o_proj", l.o, c.hidden, q);
        fits(at + "gate_proj", l.gate, c.inner, c.hidden);
        fits(at + "up_proj", l.up, c.inner, c.hidden);
        fits(at + "down_proj", l.down, c.hidden, c.inner);
        fits(at + "input_layernorm", l.norm_attention, c.hidden);
        fits(at + "post_attention_layernorm", l.norm_mlp, c.hidden);
    }
    fits("embedding", embedding, c.vocabulary, c.hidden);
    fits("head", head, c.vocabulary, c.hidden);
    fits("norm", norm, c.hidden);
}

void Model::prepare() {
    // float32 throughout, as transformers computes it
    const int half = config.head_dim / 2;
    cosine.resize(static_cast<std::size_t>(config.max_context) * half);
    sine.resize(cosine.size());
    for (int i = 0; i < half; ++i) {
        const float exponent = static_cast<float>(2 * i) / static_cast<float>(config.head_dim);
        const float frequency = 1.0f / std::pow(config.rope_theta, exponent);
        for (int position = 0; position < config.max_context; ++position) {
            const float angle = static_cast<float>(position) * frequency;
            cosine[static_cast<std::size_t>(position) * half + i] = std::cos(angle);
            sine[static_cast<std::size_t>(position) * half + i] = std::sin(angle);
        }
    }
}

void Cache::Free::operator()(void* p) const { std::free(p); }

Cache::Cache(const Config& config)
    : kv_heads_(config.kv_heads), width_(config.width()),
      element_(config.kv == KvType::float32 ? 4 : config.kv == KvType::float16 ? 2 : 1) {
    head_bytes_ = 2 * element_ * page_positions * width_ + (element_ == 1 ? 8 * page_positions : 0);
    page_bytes_ = head_bytes_ * kv_heads_ * config.layers;
}

void Cache::reserve(int positions) {
    const std::size_t pages = (positions + page_positions - 1) / page_positions;
    while (pages_.size() < pages) {
        void* memory = std::aligned_alloc(64, page_bytes_); // a multiple of 64: 256 positions
        if (!memory) throw std::bad_alloc();
        std::memset(memory, 0, page_bytes_); // kernels read whole blocks: no NaN may lie behind the last position
        pages_.emplace_back(memory);
    }
}

KvView Cache::view(int layer, int kv_head, int page) const {
    auto* at = static_cast<std::uint8_t*>(pages_[page].get()) +
               head_bytes_ * (static_cast<std::size_t>(layer) * kv_heads_ + kv_head);
    const std::size_t plane = element_ * page_positions * width_;
    auto* scales = reinterpret_cast<float*>(at + 2 * plane); // only there for int8
    return {at, at + plane, scales, scales + page_positions};
}

} // namespace gossamer::decoder
