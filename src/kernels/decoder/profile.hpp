// Where the time of passes goes. Off, it costs one test a task.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace gossamer::decoder {

class Profile {
public:
    enum Part { embedding, norms, qkv, rotation, attention, out, gate_up, down, head, parts };
    static constexpr const char* names[parts] = {"embedding", "norms", "query, key, value", "rotation, cache", "attention",
                                                 "attention output", "gate, up", "down", "head"};
    static std::int64_t now() {
        using namespace std::chrono;
        return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
    }

    bool on = false; // changes between passes only
    std::array<std::int64_t, parts> serial{}, open{}; // nanoseconds of one thread alone; while tasks were open
    std::array<std::atomic<std::int64_t>, parts> busy{}; // nanoseconds in tasks, of all threads together
    std::int64_t passes = 0;

    void start() {
        serial = open = {};
        for (auto& sum : busy) sum = 0;
        passes = 0;
        current_ = -1;
        on = true;
    }

    // Around the serial step before a phase of `part`, which answers the number of tasks.
    template <class Body>
    int step(Part part, const Body& body) {
        const std::int64_t start = now();
        if (current_ >= 0) open[current_] += start - opened_;
        const int tasks = body();
        opened_ = now();
        serial[part] += opened_ - start;
        current_ = tasks > 0 ? part : -1;
        passes += tasks < 0;
        return tasks;
    }

    template <class Body>
    void task(Part part, const Body& body) {
        const std::int64_t start = now();
        body();
        busy[part].fetch_add(now() - start, std::memory_order_relaxed);
    }

private:
    std::int64_t opened_ = 0;
    int current_ = -1;
};

} // namespace gossamer::decoder
