#include "encoder.hpp"

#include <algorithm>
#include <cstring>

namespace gossamer::encoder {
namespace {

constexpr int tokens_per_task = linear::tile_tokens; // a task packs its own tile

const Table& table() { return GOSSAMER_SELECT(encoder); }

} // namespace

// The phases of one run: embedding, then for each layer the steps below.
class Encoder::Forward final : public Program {
public:
    enum Step {
        project, project_rest, attend, quantise, mix, mix_rest, norm_attention,
        expand, expand_rest, activate, contract, contract_rest, norm_network, steps
    };

    Forward(Encoder& model, const std::int32_t* ids, const std::int32_t* offsets, int sequences, float* out)
        : m_(model), kernels_(table()), ids_(ids), offsets_(offsets), sequences_(sequences), out_(out),
          tokens_(offsets[sequences]), position_(tokens_), hidden_(m_.hidden_.view(tokens_)),
          context_(m_.context_.view(tokens_)), inner_(m_.inner_.view(tokens_)) {
        for (int s = 0; s < sequences; ++s)
            for (int t = offsets[s]; t < offsets[s + 1]; ++t) position_[t] = t - offsets[s];
    }

    int begin(int phase) noexcept override {
        const int chunks = (tokens_ + tokens_per_task - 1) / tokens_per_task;
        if (phase == 0) return chunks;
        const int layer = (phase - 1) / steps, step = (phase - 1) % steps;
        if (layer == m_.shape_.layers) return -1;
        switch (step) {
            case project: return bind(layer, query, hidden_, qkv(0)) + bind(layer, key, hidden_, qkv(1)) +
                                 bind(layer, value, hidden_, qkv(2));
            case project_rest: return rest(layer, query) + rest(layer, key) + rest(layer, value);
            case attend: return sequences_ * m_.shape_.heads;
            case quantise: return m_.quantised_ ? chunks : 0;
            case mix: return bind(layer, merge, context_, m_.merged_.as<float>());
            case mix_rest: return rest(layer, merge);
            case expand: return bind(layer, widen, hidden_, m_.widened_.as<float>());
            case expand_rest: return rest(layer, widen);
            case contract: return bind(layer, narrow, inner_, m_.merged_.as<float>());
            case contract_rest: return rest(layer, narrow);
            default: return chunks;
        }
    }

    void run(int phase, int task) noexcept override {
        if (phase == 0) return embed(task);
        const int layer = (phase - 1) / steps, step = (phase - 1) % steps;
        auto& products = m_.products_[layer];
        switch (step) {
            case project:
                for (int map = query; map <= value; ++map) {
                    const int own = products[map].main_tasks();
                    if (task < own) return products[map].run(task);
                    task -= own;
                }
                return;
            case project_rest:
                for (int map = query; map <= value; ++map) {
                    const int own = rest(layer, map);
                    if (task < own) return products[map].finish(task);
                    task -= own;
                }
                return;
            case attend: return attend_head(layer, task);
            case quantise:
                each_token(task, [&](int token) { m_.context_.quantise(token); });
                return m_.context_.pack(task, tokens_);
            case mix: return products[merge].run(task);
            case mix_rest: return products[merge].finish(task);
            case norm_attention: return add_norm(layer, task, merge, 0, false);
            case expand: return products[widen].run(task);
            case expand_rest: return products[widen].finish(task);
            case activate: return gelu(layer, task);
            case contract: return products[narrow].run(task);
            case contract_rest: return products[narrow].finish(task);
            default: return add_norm(layer, task, narrow, 2, layer + 1 == m_.shape_.layers);
        }
    }

private:
    float* qkv(int part) { return m_.qkv_.as<float>() + part * m_.shape_.hidden; }

    int bind(int layer, int map, const linear::Activation& x, float* y) {
        auto& product = m_.products_[layer][map];
        const int stride = map <= value ? 3 * m_.shape_.hidden : product.matrix().rows;
        product.bind(x, y, stride);
        return product.main_tasks();
    }

    int rest(int layer, int map) const {
        const auto& product = m_.products_[layer][map];
        return product.finishing() ? product.ranges() : 0;
    }

    template <class Body>
    void each_token(int task, const Body& body) {
        const int last = std::min(tokens_, (task + 1) * tokens_per_task);
        for (int token = task * tokens_per_task; token < last; ++token) body(token);
    }

    void embed(int task) {
        const int size = m_.shape_.hidden;
        const Weights& w = m_.weights_;
        each_token(task, [&](int token) {
            float* x = m_.hidden_.x(token);
            if (w.words)
                w.words->row(ids_[token], x);
            else
                std::memcpy(x, w.word_rows.data() + static_cast<std::int64_t>(ids_[token]) * size, 4 * size);
            const float* position = w.positions.data() + static_cast<std::int64_t>(position_[token]) * size;
            kernels_.add_norm(x, position, w.types.data(), {w.norm[0].data(), w.norm[1].data()}, m_.shape_.eps, size,
                              x);
            m_.hidden_.quantise(token);
        });
        m_.hidden_.pack(task, tokens_);
    }

    void attend_head(int layer, int task) {
        const int heads = m_.shape_.heads, size = m_.shape_.hidden / heads;
        const int sequence = task / heads, column = task % heads * size;
        const auto& bias = m_.weights_.layers[layer].bias;
        const std::int64_t first = offsets_[sequence], stride = 3 * m_.shape_.hidden;
        const std::int64_t at = first * stride + column;
        kernels_.attend({qkv(0) + at, qkv(1) + at, qkv(2) + at, bias[query].data() + column,
                         bias[key].data() + column, bias[value].data() + column,
                         m_.context_.x(static_cast<int>(first)) + column, stride, m_.shape_.hidden,
                         offsets_[sequence + 1] - offsets_[sequence], size});
    }

    void add_norm(int layer, int task, int map, int norm, bool last) {
        const int size = m_.shape_.hidden;
        const auto& w = m_.weights_.layers[layer];
        each_token(task, [&](int token) {
            float* x = m_.hidden_.x(token);
            kernels_.add_norm(x, m_.merged_.as<float>() + static_cast<std::int64_t>(token) * size,
                              w.bias[map].data(), {w.norm[norm].data(), w.norm[norm + 1].data()}, m_.shape_.eps, size,
                              last ? out_ + static_cast<std::int64_t>(token) * size : x);
            if (!last) m_.hidden_.quantise(token);
        });
        if (!last) m_.hidden_.pack(task, tokens_);
    }

    void gelu(int layer, int task) {
        const int size = m_.shape_.inner;
        each_token(task, [&](int token) {
            kernels_.gelu(m_.widened_.as<float>() + static_cast<std::int64_t>(token) * size,
                          m_.weights_.layers[layer].bias[widen].data(), size, m_.inner_.x(token));
            m_.inner_.quantise(token);
        });
        m_.inner_.pack(task, tokens_);
    }

    Encoder& m_;
    const Table& kernels_;
    const std::int32_t *ids_, *offsets_;
    int sequences_;
    float* out_;
    int tokens_;
    std::vector<int> position_;
    linear::Activation hidden_, context_, inner_;
};

Encoder::Encoder(const Shape& shape, Weights weights, int max_tokens, int threads, bool quantised)
    : shape_(shape), weights_(std::move(weights)), max_tokens_(max_tokens), quantised_(quantised), pool_(threads),
      hidden_(max_tokens, shape.hidden, quantised, true), context_(max_tokens, shape.hidden, quantised, true),
      inner_(max_tokens, shape.inner, quantised, true), qkv_(sizeof(float) * max_tokens * 3 * shape.hidden),
      merged_(sizeof(float) * max_tokens * shape.hidden), widened_(sizeof(float) * max_tokens * shape.inner) {
    products_.resize(weights_.layers.size());
    for (std::size_t layer = 0; layer < products_.size(); ++layer)
        for (int map = 0; map < maps; ++map)
            products_[layer][map] = linear::Product(*weights_.layers[layer].linear[map], max_tokens);
}

void Encoder::run(const std::int32_t* ids, const std::int32_t* offsets, int sequences, float* hidden) {
    Forward forward(*this, ids, offsets, sequences, hidden);
    pool_.execute(forward);
}

std::size_t Encoder::weight_bytes() const {
    const Weights& w = weights_;
    std::size_t floats = w.word_rows.size() + w.positions.size() + w.types.size() + 2 * w.norm[0].size();
    std::size_t bytes = w.words ? w.words->bytes() : 0;
    for (const auto& layer : w.layers) {
        for (int map = 0; map < maps; ++map) {
            bytes += layer.linear[map]->bytes();
            floats += layer.bias[map].size();
        }
        for (const auto& norm : layer.norm) floats += norm.size();
    }
    return bytes + sizeof(float) * floats;
}

std::size_t Encoder::work_bytes() const {
    const std::size_t tokens = max_tokens_, floats = sizeof(float) * tokens;
    const std::size_t codes = quantised_ ? tokens * (2 * shape_.hidden + shape_.inner) * 3 : 0; // twice, and their sums
    return floats * (6 * shape_.hidden + 2 * shape_.inner) + codes;
}

} // namespace gossamer::encoder
