#include "sampler.hpp"

#include "ops.hpp"

#include <algorithm>
#include <cmath>

namespace gossamer::decoder {
namespace {

// a comes before b: larger logit, then smaller id
bool before(const std::pair<float, int>& a, const std::pair<float, int>& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
}

} // namespace

Sampler::Sampler(const Settings& settings, int vocabulary)
    : settings_(settings), vocabulary_(vocabulary), state_(settings.seed), seen_(vocabulary), logits_(vocabulary),
      weights_(vocabulary) {
    seen_ids_.reserve(vocabulary);
    candidates_.reserve(vocabulary);
}

void Sampler::saw(int id) {
    if (seen_[id]) return;
    seen_[id] = true;
    seen_ids_.push_back(id);
}

double Sampler::uniform() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return static_cast<double>((z ^ z >> 31) >> 11) * 0x1p-53;
}

int Sampler::draw(const float* logits) { return draw_at(logits, settings_.temperature == 0 ? 0 : uniform()); }

int Sampler::draw_at(const float* logits, double uniform) {
    if (settings_.penalty != 1) {
        std::copy_n(logits, vocabulary_, logits_.data());
        for (int id : seen_ids_) {
            float& logit = logits_[id];
            logit = static_cast<float>(logit > 0 ? logit / settings_.penalty : logit * settings_.penalty);
        }
        logits = logits_.data();
    }
    const int best = ops().argmax(logits, vocabulary_);
    if (settings_.temperature == 0) return best;
    const float top = logits[best], factor = static_cast<float>(1 / settings_.temperature);
    const int k = settings_.top_k > 0 ? std::min(settings_.top_k, vocabulary_) : vocabulary_;
    if (k == vocabulary_ && settings_.top_p >= 1) { // no order needed
        const double total = ops().exponentials(logits, vocabulary_, top, factor, weights_.data());
        double left = uniform * total;
        for (int id = 0; id < vocabulary_; ++id)
            if ((left -= weights_[id]) < 0) return id;
        return best;
    }
    candidates_.clear();
    for (int id = 0; id < vocabulary_; ++id)
        if (!std::isnan(logits[id])) candidates_.emplace_back(logits[id], id);
    if (candidates_.empty()) return best;
    const auto first = candidates_.begin();
    const int count = std::min<int>(k, static_cast<int>(candidates_.size()));
    if (count < static_cast<int>(candidates_.size())) std::nth_element(first, first + count, candidates_.end(), before);
    const auto weight = [&](const std::pair<float, int>& c) {
        return std::exp((static_cast<double>(c.first) - top) * static_cast<double>(factor));
    };
    double total = 0;
    for (int i = 0; i < count; ++i) total += weight(candidates_[i]);
    // most likely first, only as many as top_p needs
    const auto after = [](const auto& a, const auto& b) { return before(b, a); };
    std::make_heap(first, first + count, after);
    double kept = 0;
    int size = 0;
    while (size < count && (size == 0 || kept < settings_.top_p * total)) {
        std::pop_heap(first, first + (count - size), after);
        kept += weight(candidates_[count - 1 - size]);
        ++size;
    }
    double left = uniform * kept;
    for (int i = 0; i < size; ++i)
        if ((left -= weight(candidates_[count - 1 - i])) < 0) return candidates_[count - 1 - i].second;
    return candidates_[count - size].second;
}

} // namespace gossamer::decoder
