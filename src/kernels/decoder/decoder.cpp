#include "decoder.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace gossamer::decoder {
namespace {

// A session is one conversation: a callback or a second thread must not move it while it moves.
class Alone {
public:
    explicit Alone(std::mutex& mutex) : lock_(mutex, std::try_to_lock) {
        if (!lock_.owns_lock()) throw std::invalid_argument("this session is in use by another call");
    }

private:
    std::unique_lock<std::mutex> lock_;
};

Model prepared(Model model) {
    model.check();
    model.prepare();
    return model;
}

} // namespace

Decoder::Decoder(Model model, int threads)
    : model_(prepared(std::move(model))), pool_(std::clamp(threads, 1, 1024)), step_(model_) {}

int Decoder::pass(const Token* tokens, int count, int wanted, float* logits) {
    std::lock_guard lock(mutex_);
    step_.set(tokens, count, wanted, logits);
    pool_.execute(step_);
    return wanted == 1 ? step_.best() : -1;
}

void Decoder::start_profile() {
    std::lock_guard lock(mutex_);
    step_.profile().start();
}

const Profile& Decoder::stop_profile() {
    std::lock_guard lock(mutex_);
    step_.profile().on = false;
    return step_.profile();
}

void Decoder::check_id(std::int64_t id) const {
    if (id < 0 || id >= config().vocabulary)
        throw std::invalid_argument("token id " + std::to_string(id) + ": expected 0.." +
                                    std::to_string(config().vocabulary - 1));
}

void Decoder::decode_batch(const std::vector<Session*>& sessions, const std::vector<std::int64_t>& ids, float* logits) {
    if (sessions.size() != ids.size())
        throw std::invalid_argument(std::to_string(sessions.size()) + " sessions and " + std::to_string(ids.size()) + " ids");
    std::vector<std::unique_ptr<Alone>> locks;
    for (std::size_t i = 0; i < ids.size(); ++i) {
        if (sessions[i]->decoder_.get() != this) throw std::invalid_argument("a session belongs to another decoder");
        locks.push_back(std::make_unique<Alone>(sessions[i]->mutex_));
        check_id(ids[i]);
        sessions[i]->room_for(1);
    }
    for (std::size_t start = 0; start < ids.size(); start += Step::max_tokens) {
        const std::size_t count = std::min<std::size_t>(Step::max_tokens, ids.size() - start);
        std::vector<Token> tokens;
        for (std::size_t i = start; i < start + count; ++i) {
            Session& s = *sessions[i];
            if (s.fed_ < s.length()) s.feed({}, nullptr, nullptr);
            s.cache_.reserve(s.fed_ + 1);
            tokens.push_back({static_cast<int>(ids[i]), s.fed_, &s.cache_});
        }
        float* out = logits + start * config().vocabulary;
        const int best = pass(tokens.data(), static_cast<int>(count), static_cast<int>(count), out);
        for (std::size_t i = start; i < start + count; ++i) {
            Session& s = *sessions[i];
            s.ids_.push_back(static_cast<int>(ids[i]));
            ++s.fed_;
            std::copy_n(out + (i - start) * config().vocabulary, config().vocabulary, s.logits_.data());
            s.best_ = best >= 0 ? best : ops().argmax(s.logits_.data(), config().vocabulary);
            s.fresh_ = true;
        }
    }
}

Session::Session(std::shared_ptr<Decoder> decoder)
    : decoder_(std::move(decoder)), cache_(decoder_->config()), logits_(decoder_->config().vocabulary) {}

void Session::room_for(std::int64_t more) const {
    const int limit = decoder_->config().max_context;
    if (length() + more > limit)
        throw std::invalid_argument("context of " + std::to_string(length()) + " + " + std::to_string(more) +
                                    " tokens: expected at most " + std::to_string(limit));
}

// Takes ids (and a drawn token that is not yet in the cache) into the cache. `all` receives every new position's
// logits, `last` the last one's, which the session keeps as well.
void Session::feed(const std::vector<std::int64_t>& ids, float* all, float* last) {
    for (std::int64_t id : ids) decoder_->check_id(id);
    room_for(static_cast<std::int64_t>(ids.size()));
    cache_.reserve(length() + static_cast<int>(ids.size()));
    const int vocabulary = decoder_->config().vocabulary, pending = length() - fed_;
    ids_.insert(ids_.end(), ids.begin(), ids.end());
    if (pending && all) { // its logits are nobody's business
        const Token token{ids_[fed_], fed_, &cache_};
        decoder_->pass(&token, 1, 0, nullptr);
        ++fed_;
    }
    while (fed_ < length()) {
        Token tokens[Step::max_tokens];
        const int count = std::min(Step::max_tokens, length() - fed_);
        for (int i = 0; i < count; ++i) tokens[i] = {ids_[fed_ + i], fed_ + i, &cache_};
        const bool ends = fed_ + count == length();
        if (all) {
            decoder_->pass(tokens, count, count, all);
            all += static_cast<std::int64_t>(count) * vocabulary;
            if (ends) {
                std::copy_n(all - vocabulary, vocabulary, logits_.data());
                best_ = ops().argmax(logits_.data(), vocabulary);
            }
        } else {
            best_ = decoder_->pass(tokens, count, ends ? 1 : 0, logits_.data());
        }
        fed_ += count;
        fresh_ = ends;
    }
    if (last) std::copy_n(logits_.data(), vocabulary, last);
}

void Session::prefill(const std::vector<std::int64_t>& ids, float* logits) {
    Alone alone(mutex_);
    if (ids.empty()) throw std::invalid_argument("ids is empty: expected at least one token");
    feed(ids, nullptr, logits);
}

void Session::logits(const std::vector<std::int64_t>& ids, float* logits) {
    Alone alone(mutex_);
    feed(ids, logits, nullptr);
}

std::vector<int> Session::generate(int max_new_tokens, const Settings& settings, const std::vector<std::int64_t>& stop_ids,
                                   const std::function<bool(int)>& go_on) {
    Alone alone(mutex_);
    if (max_new_tokens < 0) throw std::invalid_argument("max_new_tokens must not be negative");
    if (ids_.empty()) throw std::invalid_argument("generate needs a prompt: call prefill first");
    for (std::int64_t id : stop_ids) decoder_->check_id(id);
    room_for(max_new_tokens);
    cache_.reserve(length() + max_new_tokens);
    ids_.reserve(length() + max_new_tokens);
    std::vector<int> drawn;
    drawn.reserve(max_new_tokens);
    Sampler sampler(settings, settings.greedy() ? 0 : decoder_->config().vocabulary);
    if (!settings.greedy())
        for (int id : ids_) sampler.saw(id);
    for (int i = 0; i < max_new_tokens; ++i) {
        if (fed_ < length()) {
            const Token token{ids_[fed_], fed_, &cache_};
            best_ = decoder_->pass(&token, 1, 1, logits_.data());
            ++fed_;
        }
        const int id = settings.greedy() ? best_ : sampler.draw(logits_.data());
        if (!settings.greedy()) sampler.saw(id);
        ids_.push_back(id);
        drawn.push_back(id);
        const bool more = go_on(id);
        if (!more || std::find(stop_ids.begin(), stop_ids.end(), id) != stop_ids.end()) break;
    }
    return drawn;
}

} // namespace gossamer::decoder
