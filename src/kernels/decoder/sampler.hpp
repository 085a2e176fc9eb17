// Draws tokens: repetition penalty, temperature, top-k, top-p, in this order (see gossamer.engine.sampling).
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace gossamer::decoder {

struct Settings {
    double temperature = 0, top_p = 1, penalty = 1;
    int top_k = 0;
    std::uint64_t seed = 0;
    bool greedy() const { return temperature == 0 && penalty == 1; } // the plain argmax
};

class Sampler {
public:
    Sampler(const Settings& settings, int vocabulary);
    void saw(int id); // ids of the prompt and of the answer so far
    int draw(const float* logits);
    int draw_at(const float* logits, double uniform); // with this number in [0, 1) instead of a random one

private:
    double uniform(); // SplitMix64: state += 0x9e3779b97f4a7c15, two xor-multiply rounds, the top 53 bits

    Settings settings_;
    int vocabulary_;
    std::uint64_t state_;
    std::vector<bool> seen_;
    std::vector<int> seen_ids_;
    std::vector<float> logits_, weights_;
    std::vector<std::pair<float, int>> candidates_;
};

} // namespace gossamer::decoder
