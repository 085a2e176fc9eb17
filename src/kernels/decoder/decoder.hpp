// The decoder and its sessions: what Python drives. All checks of ids and lengths are here.
#pragma once

#include "sampler.hpp"
#include "step.hpp"

#include <functional>
#include <mutex>

namespace gossamer::decoder {

class Session;

class Decoder {
public:
    Decoder(Model model, int threads);

    const Config& config() const { return model_.config; }
    const Model& model() const { return model_; }
    int threads() const { return pool_.threads(); }
    std::size_t scratch_bytes() const { return step_.bytes(); }

    void start_profile();
    const Profile& stop_profile();

    // One pass; returns the argmax if one token's logits are wanted.
    int pass(const Token* tokens, int count, int wanted, float* logits);
    void check_id(std::int64_t id) const; // throws std::invalid_argument

    // One token of each session at once; (sessions, vocabulary) logits.
    void decode_batch(const std::vector<Session*>& sessions, const std::vector<std::int64_t>& ids, float* logits);

private:
    Model model_;
    Pool pool_;
    Step step_;
    std::mutex mutex_; // one pass at a time: the step's memory is shared by the sessions
};

class Session {
public:
    explicit Session(std::shared_ptr<Decoder> decoder);

    void prefill(const std::vector<std::int64_t>& ids, float* logits); // of the last position
    void logits(const std::vector<std::int64_t>& ids, float* logits);  // of every position
    // Draws until a stop id, the limit, or `go_on` says no; every drawn id is given to `go_on` and returned.
    std::vector<int> generate(int max_new_tokens, const Settings& settings, const std::vector<std::int64_t>& stop_ids,
                              const std::function<bool(int)>& go_on);

    int length() const { return static_cast<int>(ids_.size()); } // tokens given or drawn
    std::size_t bytes() const { return cache_.bytes(); }
    const std::vector<int>& ids() const { return ids_; }
    Decoder& decoder() { return *decoder_; }

private:
    friend class Decoder;
    void feed(const std::vector<std::int64_t>& ids, float* all, float* last);
    void room_for(std::int64_t more) const;

    std::shared_ptr<Decoder> decoder_;
    Cache cache_;
    std::vector<int> ids_;
    int fed_ = 0; // the last drawn token is not yet in the cache
    bool fresh_ = false;
    std::vector<float> logits_;
    int best_ = 0;
    std::mutex mutex_;
};

} // namespace gossamer::decoder
