// A BERT encoder: embeddings, then post-norm layers of attention and a GELU network. Sequences of any lengths are
// concatenated, never padded.
#pragma once

#include "../dispatch/pool.hpp"
#include "../linear/linear.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace gossamer::encoder {

struct Shape {
    int hidden, inner, layers, heads, vocabulary, positions, types;
    float eps;
};

struct Norm {
    const float* weight;
    const float* bias;
};

// One head of one sequence; q, k, v and out have `stride` floats between tokens. Biases are added here.
struct Head {
    const float *q, *k, *v, *q_bias, *k_bias, *v_bias;
    float* out;
    std::int64_t stride, out_stride;
    int length, size;
};

struct Table {
    void (*attend)(const Head&);
    // out = norm(residual + y + bias); y and bias may be null; residual may be out
    void (*add_norm)(const float* residual, const float* y, const float* bias, Norm norm, float eps, int size,
                     float* out);
    void (*gelu)(const float* y, const float* bias, int size, float* out); // of y + bias, by the error function
};

extern const Table portable_table, avx2_table, avx512_table, neon_table;

// Names of a layer's maps, in the order in which their products come.
enum Map { query, key, value, merge, widen, narrow, maps };

struct Weights { // everything is copied or owned: nothing refers to what Python holds
    struct Layer {
        std::array<std::shared_ptr<const linear::Linear>, maps> linear;
        std::array<std::vector<float>, maps> bias;
        std::vector<float> norm[4]; // after attention: weight, bias; after the network: weight, bias
    };
    std::shared_ptr<const linear::Linear> words; // either this
    std::vector<float> word_rows;                // or that
    std::vector<float> positions, types, norm[2];
    std::vector<Layer> layers;
};

class Encoder {
public:
    Encoder(const Shape& shape, Weights weights, int max_tokens, int threads, bool quantised);

    // ids of all sequences one after the other; offsets has sequences + 1 entries, from 0 to the number of tokens.
    // hidden (tokens, hidden size) receives the last layer. Types are 0. Arguments are checked by the caller.
    void run(const std::int32_t* ids, const std::int32_t* offsets, int sequences, float* hidden);

    int max_tokens() const { return max_tokens_; }
    std::size_t weight_bytes() const;
    std::size_t work_bytes() const;
    const Shape& shape() const { return shape_; }

private:
    class Forward;
    Shape shape_;
    Weights weights_;
    int max_tokens_;
    bool quantised_;
    Pool pool_;
    linear::ActivationBuffer hidden_, context_, inner_;
    linear::Buffer qkv_, merged_, widened_;
    std::vector<std::array<linear::Product, maps>> products_;
};

} // namespace gossamer::encoder
