// A Llama-family decoder: sizes, prepared matrices, norms, rotation tables. Immutable and shared by its sessions.
#pragma once

#include "../linear/handle.hpp"
#include "ops.hpp"

#include <memory>
#include <vector>

namespace gossamer::decoder {

using Matrix = std::shared_ptr<const linear::Handle>;

struct Config {
    int layers = 0, hidden = 0, inner = 0, heads = 0, kv_heads = 0, head_dim = 0, vocabulary = 0, max_context = 0;
    float eps = 0, rope_theta = 0;
    KvType kv = KvType::float16;
    bool int8 = true; // activations of products with quantised weights
    int width() const { return (head_dim + 15) / 16 * 16; }
    int group() const { return heads / kv_heads; }
};

struct Layer {
    Matrix q, k, v, o, gate, up, down;
    std::vector<float> norm_attention, norm_mlp;
};

struct Model {
    Config config;
    std::vector<Layer> layers;
    Matrix embedding, head;
    std::vector<float> norm;
    std::vector<float> cosine, sine; // (max_context, head_dim / 2)

    void check() const; // throws std::invalid_argument if any shape does not fit
    void prepare();     // fills the rotation tables
};

// The keys and values of one session, in pages that are taken when needed.
class Cache {
public:
    explicit Cache(const Config& config);
    void reserve(int positions); // the only place that allocates
    KvView view(int layer, int kv_head, int page) const;
    std::size_t bytes() const { return pages_.size() * page_bytes_; }

private:
    struct Free {
        void operator()(void* p) const;
    };
    int kv_heads_, width_;
    std::size_t element_, head_bytes_, page_bytes_;
    std::vector<std::unique_ptr<void, Free>> pages_;
};

} // namespace gossamer::decoder
