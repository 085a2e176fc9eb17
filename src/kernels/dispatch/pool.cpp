#include "pool.hpp"

#include <chrono>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace gossamer {
namespace {

constexpr auto spin_time = std::chrono::microseconds(40);

inline void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

} // namespace

Pool::Pool(int threads) : owner_(getpid()) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { serve(); });
}

Pool::~Pool() {
    if (owner_ != getpid()) { // a forked child has no workers to join
        for (auto& worker : workers_) worker.detach();
        return;
    }
    stop_.store(true);
    publish(0);
    for (auto& worker : workers_) worker.join();
}

void Pool::execute(Program& program) {
    program_ = &program;
    open(0);
    for (;;) {
        const std::uint64_t word = word_.load(std::memory_order_acquire);
        if (tasks_of(word) == 0) return; // the word itself says that the program has ended
        if (!work()) wait(word >> 20);
    }
}

bool Pool::work() {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    if (next_of(word) >= tasks_of(word)) return false;
    word = word_.fetch_add(1, std::memory_order_acq_rel); // the phase may have changed in between: still a fair claim
    const int task = next_of(word);
    if (task >= tasks_of(word)) return false;
    program_->run(phase_, task);
    const int tasks = tasks_;
    if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == tasks) open(phase_ + 1);
    return true;
}

void Pool::open(int first) {
    done_.store(0, std::memory_order_relaxed);
    for (phase_ = first;; ++phase_) {
        tasks_ = program_->begin(phase_);
        if (tasks_ != 0) return publish(tasks_ < 0 ? 0 : tasks_);
    }
}

void Pool::publish(int tasks) {
    word_.store(pack(++sequence_, tasks));
    if (sleepers_.load() > 0) { // sequentially consistent: a waiter either sees the word or is seen here
        generation_.fetch_add(1);
        generation_.notify_all();
    }
}

void Pool::wait(std::uint64_t seen) {
    const auto changed = [&] { return word_.load() >> 20 != seen; };
    const auto end = std::chrono::steady_clock::now() + spin_time;
    do {
        for (int i = 0; i < 64; ++i) {
            if (changed()) return;
            relax();
        }
    } while (std::chrono::steady_clock::now() < end);
    sleepers_.fetch_add(1);
    const std::uint32_t generation = generation_.load();
    if (!changed()) generation_.wait(generation);
    sleepers_.fetch_sub(1);
}

void Pool::serve() {
    while (!stop_.load(std::memory_order_acquire)) {
        const std::uint64_t seen = word_.load(std::memory_order_acquire) >> 20;
        if (!work() && !stop_.load(std::memory_order_acquire)) wait(seen);
    }
}

} // namespace gossamer
