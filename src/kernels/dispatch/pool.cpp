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

Pool::Pool(int threads) : count_(threads), runs_(std::make_unique<Run[]>(threads)), owner_(getpid()) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { serve(i); });
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
        const std::uint64_t state = state_.load(std::memory_order_acquire);
        if (state & 1) return;
        if (!work(0)) wait(state);
    }
}

int Pool::claim(int home) {
    constexpr std::uint64_t field = 0xfffff;
    for (int i = 0; i < count_; ++i) {
        auto& word = runs_[(home + i) % count_].word;
        std::uint64_t seen = word.load(std::memory_order_acquire);
        while ((seen & field) < (seen >> 20 & field)) {
            const std::uint64_t next = i == 0 ? seen + 1 : seen - (1 << 20);
            if (word.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_acquire))
                return static_cast<int>(i == 0 ? seen & field : (next >> 20 & field));
        }
    }
    return -1;
}

bool Pool::work(int home) {
    const int task = claim(home);
    if (task < 0) return false;
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
    const std::uint64_t sequence = ++sequence_; // others may publish before this call has ended
    for (std::int64_t i = 0; tasks > 0 && i < count_; ++i) {
        const std::uint64_t first = tasks * i / count_, end = tasks * (i + 1) / count_;
        runs_[i].word.store(sequence << 40 | end << 20 | first, std::memory_order_release);
    }
    // The others may have done these tasks, and opened later phases, since the runs were written: state only grows.
    std::uint64_t state = state_.load();
    while (state >> 1 < sequence && !state_.compare_exchange_weak(state, sequence << 1 | (tasks == 0))) {
    }
    if (sleepers_.load() > 0) { // sequentially consistent: a waiter either sees the state or is seen here
        generation_.fetch_add(1);
        generation_.notify_all();
    }
}

void Pool::wait(std::uint64_t seen) {
    const auto changed = [&] { return state_.load() != seen; };
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

void Pool::serve(int home) {
    while (!stop_.load(std::memory_order_acquire)) {
        const std::uint64_t state = state_.load(std::memory_order_acquire);
        if (!work(home) && !stop_.load(std::memory_order_acquire)) wait(state);
    }
}

} // namespace gossamer
