#include "step.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace gossamer::decoder {
namespace {

constexpr int tile_tokens = 8; // of a prompt, taken together by one attention task

const linear::Linear& of(const Matrix& matrix) { return *matrix->linear; }

} // namespace

Step::Step(const Model& model)
    : model_(model), c_(model.config), in_(max_tokens, c_.hidden, c_.int8),
      attended_(max_tokens, c_.heads * c_.head_dim, c_.int8), inner_(max_tokens, c_.inner, c_.int8),
      last_(max_tokens, c_.hidden, c_.int8) {
    max_splits_ = (c_.max_context + page_positions - 1) / page_positions;
    qkv_stride_ = (c_.heads + 2 * c_.kv_heads) * c_.head_dim;
    hidden_ = linear::Buffer(sizeof(float) * max_tokens * c_.hidden);
    residual_ = linear::Buffer(sizeof(float) * max_tokens * c_.hidden);
    qkv_ = linear::Buffer(sizeof(float) * max_tokens * qkv_stride_);
    up_ = linear::Buffer(sizeof(float) * max_tokens * c_.inner);
    const std::size_t slots = static_cast<std::size_t>(c_.heads) * std::max(max_tokens, max_splits_);
    partials_ = linear::Buffer(sizeof(float) * slots * c_.width());
    tops_ = linear::Buffer(2 * sizeof(float) * slots);
    products_.reserve(c_.layers);
    for (const Layer& l : model.layers) {
        const auto product = [](const Matrix& m) { return linear::Product(of(m), max_tokens); };
        products_.push_back({product(l.q), product(l.k), product(l.v), product(l.o), product(l.gate), product(l.up),
                             product(l.down)});
    }
    head_ = linear::Product(of(model.head), max_tokens);
    best_.resize(head_.ranges());
    tokens_.reserve(max_tokens);
    tiles_.reserve(max_tokens);
    bytes_ = hidden_.size() + residual_.size() + qkv_.size() + up_.size() + partials_.size();
}

void Step::set(const Token* tokens, int count, int wanted, float* logits) {
    tokens_.assign(tokens, tokens + count);
    count_ = count;
    wanted_ = wanted;
    logits_ = logits;
    tiles_.clear();
    for (int i = 0; i < count; ++i) {
        const bool joins = !tiles_.empty() && tiles_.back().count < tile_tokens && tokens_[i - 1].cache == tokens_[i].cache;
        if (joins)
            ++tiles_.back().count;
        else
            tiles_.push_back({i, 1});
    }
    // one token is cut by pages, so that a long context keeps all threads busy
    splits_ = count == 1 ? tokens_[0].position / page_positions + 1 : 1;
}

int Step::best() const {
    return std::max_element(best_.begin(), best_.end(), [](const auto& a, const auto& b) { return a.first < b.first; })->second;
}

int Step::each_token(void (Step::*body)(int)) {
    if (count_ == 1) {
        (this->*body)(0);
        return 0;
    }
    body_ = body;
    return count_;
}

Profile::Part Step::part(int phase) const {
    static constexpr Profile::Part of_stage[stages] = {
        Profile::norms, Profile::qkv, Profile::qkv, Profile::rotation, Profile::attention, Profile::attention, Profile::out,
        Profile::out, Profile::norms, Profile::gate_up, Profile::gate_up, Profile::down, Profile::down};
    if (phase == 0) return Profile::embedding;
    const int stage = (phase - 1) % stages;
    return (phase - 1) / stages == c_.layers && stage != norm ? Profile::head : of_stage[stage];
}

int Step::begin(int phase) noexcept {
    if (!profile_.on) return prepare(phase);
    return profile_.step(part(phase), [&] { return prepare(phase); });
}

void Step::run(int phase, int task) noexcept {
    if (!profile_.on) return run_stage(phase, task);
    profile_.task(part(phase), [&] { run_stage(phase, task); });
}

int Step::prepare(int phase) {
    if (phase == 0) return each_token(&Step::embed);
    layer_ = (phase - 1) / stages;
    const int stage = (phase - 1) % stages;
    if (layer_ == c_.layers) return head_stage(stage);
    LayerProducts& p = products_[layer_];
    switch (stage) {
        case norm: bind_layer(); return each_token(&Step::norm_attention);
        case qkv: return p.q.main_tasks() + p.k.main_tasks() + p.v.main_tasks();
        case qkv_low: {
            const auto low = [](const linear::Product& x) { return x.finishing() ? x.ranges() : 0; };
            return low(p.q) + low(p.k) + low(p.v);
        }
        case rotate: return each_token(&Step::rotate_and_put);
        case attend: return static_cast<int>(tiles_.size()) * c_.kv_heads * splits_;
        case combine: return each_token(&Step::combine_heads);
        case out: return p.o.main_tasks();
        case out_low: return p.o.finishing() ? p.o.ranges() : 0;
        case norm_mlp: return each_token(&Step::norm_feed_forward);
        case gate: return p.gate.finishing() || p.up.finishing() ? p.gate.main_tasks() + p.up.main_tasks() : p.gate.ranges();
        case gate_low: return p.gate.finishing() || p.up.finishing() ? p.gate.ranges() : 0;
        case down: return p.down.main_tasks();
        default: return p.down.finishing() ? p.down.ranges() : 0;
    }
}

int Step::head_stage(int stage) {
    if (wanted_ == 0) return -1;
    switch (stage) {
        case norm: {
            for (int i = 0; i < wanted_; ++i) norm_head(i);
            last_view_ = last_.view(wanted_);
            head_.bind(last_view_, logits_, c_.vocabulary);
            return 0;
        }
        case qkv: return head_.main_tasks();
        case qkv_low: return head_.finishing() ? head_.ranges() : 0;
        default: return -1;
    }
}

void Step::run_stage(int phase, int task) {
    if (phase == 0) return (this->*body_)(task);
    const int stage = (phase - 1) % stages;
    if (layer_ == c_.layers) {
        if (stage == qkv)
            head_.run(task);
        else
            head_.finish(task);
        if ((stage == qkv) != head_.finishing() && task < head_.ranges()) keep_best(task);
        return;
    }
    LayerProducts& p = products_[layer_];
    switch (stage) {
        case qkv: return run_three(task);
        case qkv_low:
            for (linear::Product* product : {&p.q, &p.k, &p.v}) {
                if (!product->finishing()) continue;
                if (task < product->ranges()) return product->finish(task);
                task -= product->ranges();
            }
            return;
        case attend: return attend_task(task);
        case out: return run_residual(p.o, task, false);
        case out_low: return run_residual(p.o, task, true);
        case gate: return run_gate(task);
        case gate_low: return finish_gate(task);
        case down: return run_residual(p.down, task, false);
        case down_low: return run_residual(p.down, task, true);
        default: return (this->*body_)(task);
    }
}

void Step::bind_layer() {
    LayerProducts& p = products_[layer_];
    in_view_ = in_.view(count_);
    attended_view_ = attended_.view(count_);
    inner_view_ = inner_.view(count_);
    float* qkv = qkv_.as<float>();
    p.q.bind(in_view_, qkv, qkv_stride_);
    p.k.bind(in_view_, qkv + c_.heads * c_.head_dim, qkv_stride_);
    p.v.bind(in_view_, qkv + (c_.heads + c_.kv_heads) * c_.head_dim, qkv_stride_);
    p.o.bind(attended_view_, residual_.as<float>(), c_.hidden);
    p.gate.bind(in_view_, inner_.x(0), c_.inner);
    p.up.bind(in_view_, up_.as<float>(), c_.inner);
    p.down.bind(inner_view_, residual_.as<float>(), c_.hidden);
}

void Step::embed(int token) { of(model_.embedding).row(tokens_[token].id, hidden_.as<float>() + token * c_.hidden); }

void Step::norm_attention(int token) {
    ops().rms_norm(hidden_.as<float>() + token * c_.hidden, model_.layers[layer_].norm_attention.data(), c_.hidden, c_.eps,
                   in_.x(token));
    in_.quantise(token);
}

void Step::norm_feed_forward(int token) {
    ops().rms_norm(hidden_.as<float>() + token * c_.hidden, model_.layers[layer_].norm_mlp.data(), c_.hidden, c_.eps,
                   in_.x(token));
    in_.quantise(token);
}

void Step::norm_head(int wanted) {
    const int token = count_ - wanted_ + wanted;
    ops().rms_norm(hidden_.as<float>() + token * c_.hidden, model_.norm.data(), c_.hidden, c_.eps, last_.x(wanted));
    last_.quantise(wanted);
}

void Step::rotate_and_put(int token) {
    const int half = c_.head_dim / 2, position = tokens_[token].position;
    const float* cosine = model_.cosine.data() + static_cast<std::size_t>(position) * half;
    const float* sine = model_.sine.data() + static_cast<std::size_t>(position) * half;
    float* q = qkv_.as<float>() + static_cast<std::int64_t>(token) * qkv_stride_;
    float* k = q + c_.heads * c_.head_dim;
    const float* v = k + c_.kv_heads * c_.head_dim;
    const float factor = 1.0f / std::sqrt(static_cast<float>(c_.head_dim));
    for (int head = 0; head < c_.heads; ++head) ops().rotate(q + head * c_.head_dim, cosine, sine, half);
    for (int i = 0; i < c_.heads * c_.head_dim; ++i) q[i] *= factor;
    const int width = c_.width();
    float* padded = linear::scratch(2 * static_cast<std::size_t>(width));
    for (int head = 0; head < c_.kv_heads; ++head) {
        ops().rotate(k + head * c_.head_dim, cosine, sine, half);
        std::memset(padded, 0, 2 * sizeof(float) * width);
        std::memcpy(padded, k + head * c_.head_dim, sizeof(float) * c_.head_dim);
        std::memcpy(padded + width, v + head * c_.head_dim, sizeof(float) * c_.head_dim);
        ops().put(c_.kv, tokens_[token].cache->view(layer_, head, position / page_positions), position % page_positions,
                  width, padded, padded + width);
    }
}

Partial Step::partial(int token, int head, int split) {
    const std::size_t slot = static_cast<std::size_t>(token * c_.heads + head) * splits_ + split;
    return {tops_.as<float>()[2 * slot], tops_.as<float>()[2 * slot + 1], partials_.as<float>() + slot * c_.width()};
}

void Step::attend_task(int task) {
    const int split = task % splits_, kv_head = task / splits_ % c_.kv_heads;
    const Tile tile = tiles_[task / splits_ / c_.kv_heads];
    const int group = c_.group(), width = c_.width(), rows = tile.count * group;
    float* memory = linear::scratch(static_cast<std::size_t>(rows) * (width + 1) + rows * sizeof(Partial) / sizeof(float) + 16);
    int* limit = reinterpret_cast<int*>(memory + static_cast<std::size_t>(rows) * width);
    Partial* partials = reinterpret_cast<Partial*>(memory + ((static_cast<std::size_t>(rows) * (width + 1) + 1) / 2 * 2));
    for (int row = 0; row < rows; ++row) {
        const int token = tile.first + row / group, head = kv_head * group + row % group;
        float* q = memory + static_cast<std::size_t>(row) * width;
        std::memset(q, 0, sizeof(float) * width);
        std::memcpy(q, qkv_.as<float>() + static_cast<std::int64_t>(token) * qkv_stride_ + head * c_.head_dim,
                    sizeof(float) * c_.head_dim);
        partials[row] = partial(token, head, split);
        partials[row].top = -INFINITY;
        partials[row].sum = 0;
        std::memset(partials[row].values, 0, sizeof(float) * width);
    }
    const int last = tokens_[tile.first + tile.count - 1].position / page_positions;
    const int first_page = splits_ > 1 ? split : 0, end_page = splits_ > 1 ? split + 1 : last + 1;
    for (int page = first_page; page < end_page; ++page) {
        for (int row = 0; row < rows; ++row)
            limit[row] = std::clamp(tokens_[tile.first + row / group].position + 1 - page * page_positions, 0, page_positions);
        ops().attend(c_.kv, tokens_[tile.first].cache->view(layer_, kv_head, page), {rows, width, memory, limit, partials});
    }
    for (int row = 0; row < rows; ++row) {
        const std::size_t slot =
            static_cast<std::size_t>((tile.first + row / group) * c_.heads + kv_head * group + row % group) * splits_ + split;
        tops_.as<float>()[2 * slot] = partials[row].top;
        tops_.as<float>()[2 * slot + 1] = partials[row].sum;
    }
}

void Step::combine_heads(int token) {
    float* out = attended_.x(token);
    for (int head = 0; head < c_.heads; ++head, out += c_.head_dim) {
        float top = -INFINITY, sum = 0;
        for (int s = 0; s < splits_; ++s) top = std::max(top, partial(token, head, s).top);
        for (int s = 0; s < splits_; ++s) {
            const Partial p = partial(token, head, s);
            const float weight = splits_ == 1 ? 1.0f : std::exp(p.top - top);
            sum += weight * p.sum;
            for (int d = 0; d < c_.head_dim; ++d) out[d] = (s ? out[d] : 0.0f) + weight * p.values[d];
        }
        const float inverse = 1.0f / sum;
        for (int d = 0; d < c_.head_dim; ++d) out[d] *= inverse;
    }
    attended_.quantise(token);
}

void Step::run_three(int task) {
    LayerProducts& p = products_[layer_];
    for (linear::Product* product : {&p.q, &p.k, &p.v}) {
        if (task < product->main_tasks()) return product->run(task);
        task -= product->main_tasks();
    }
}

void Step::run_residual(linear::Product& product, int task, bool finishing) {
    if (finishing)
        product.finish(task);
    else
        product.run(task);
    if (finishing != product.finishing() || task >= product.ranges()) return;
    const int first = product.first_row(task), rows = product.last_row(task) - first;
    for (std::int64_t token = 0; token < count_; ++token)
        ops().add(hidden_.as<float>() + token * c_.hidden + first, residual_.as<float>() + token * c_.hidden + first, rows);
}

void Step::run_gate(int task) {
    LayerProducts& p = products_[layer_];
    if (p.gate.finishing() || p.up.finishing()) {
        if (task < p.gate.main_tasks()) return p.gate.run(task);
        return p.up.run(task - p.gate.main_tasks());
    }
    p.gate.run(task);
    p.up.run(task);
    finish_gate(task);
}

void Step::finish_gate(int task) {
    LayerProducts& p = products_[layer_];
    if (p.gate.finishing()) p.gate.finish(task);
    if (p.up.finishing()) p.up.finish(task);
    const int first = p.gate.first_row(task), rows = p.gate.last_row(task) - first;
    for (std::int64_t token = 0; token < count_; ++token)
        ops().swiglu(inner_.x(0) + token * c_.inner + first, up_.as<float>() + token * c_.inner + first, rows);
    for (int token = 0; token < count_; ++token) inner_.quantise(token, first, first + rows);
}

void Step::keep_best(int task) {
    if (wanted_ != 1) return;
    const int first = head_.first_row(task);
    const int index = first + ops().argmax(logits_ + first, head_.last_row(task) - first);
    best_[task] = {logits_[index], index};
}

const Ops& ops() { return GOSSAMER_SELECT(decoder); }

} // namespace gossamer::decoder
