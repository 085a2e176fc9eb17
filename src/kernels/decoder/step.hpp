// One pass of a batch of tokens through the model, as a program of phases for the pool.
#pragma once

#include "../dispatch/pool.hpp"
#include "model.hpp"
#include "profile.hpp"

#include <vector>

namespace gossamer::decoder {

struct Token {
    int id;
    int position;
    Cache* cache;
};

class Step final : public Program {
public:
    static constexpr int max_tokens = 64;

    explicit Step(const Model& model);

    // Tokens of one cache must follow each other, with rising positions; their pages must be reserved.
    // `logits` receives the last `wanted` tokens' logits, (wanted, vocabulary).
    void set(const Token* tokens, int count, int wanted, float* logits);
    int best() const; // argmax of the only wanted token's logits

    int begin(int phase) noexcept override;
    void run(int phase, int task) noexcept override;
    std::size_t bytes() const { return bytes_; }
    Profile& profile() { return profile_; }

private:
    enum Stage { norm, qkv, qkv_low, rotate, attend, combine, out, out_low, norm_mlp, gate, gate_low, down, down_low, stages };
    struct Tile { // tokens of one cache that attention takes together
        int first, count;
    };
    struct LayerProducts {
        linear::Product q, k, v, o, gate, up, down;
    };

    int prepare(int phase);
    void run_stage(int phase, int task);
    Profile::Part part(int phase) const;
    int each_token(void (Step::*body)(int));
    int head_stage(int stage);
    void embed(int token);
    void norm_attention(int token);
    void rotate_and_put(int token);
    void combine_heads(int token);
    void norm_feed_forward(int token);
    void norm_head(int token);
    void attend_task(int task);
    void run_three(int task);
    void run_residual(linear::Product& product, int task, bool finishing);
    void run_gate(int task);
    void finish_gate(int task);
    void keep_best(int task);
    void bind_layer();
    Partial partial(int token, int head, int split);

    const Model& model_;
    const Config& c_;
    std::vector<LayerProducts> products_;
    linear::Product head_;
    Profile profile_;
    linear::ActivationBuffer in_, attended_, inner_, last_;
    linear::Activation in_view_, attended_view_, inner_view_, last_view_;
    linear::Buffer hidden_, qkv_, up_, residual_, partials_, tops_;
    std::vector<Token> tokens_;
    std::vector<Tile> tiles_;
    std::vector<std::pair<float, int>> best_;
    void (Step::*body_)(int) = nullptr;
    int count_ = 0, wanted_ = 0, layer_ = 0, splits_ = 1, max_splits_, qkv_stride_;
    float* logits_ = nullptr;
    std::size_t bytes_ = 0;
};

} // namespace gossamer::decoder
