// One phase: rows are computed before anybody knows where in C they belong.
//
// A thread computes a token into memory of its own, small enough for the cache, and publishes how many entries came
// out. Tokens are claimed in order, so that the place of a token is known soon after it is done: then it is copied to C,
// whose pages are touched once, by the thread that fills them. While it is not known the thread goes on with its next
// token; it waits only when its memory is full.
#pragma once

#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "row.inl"

#include <sched.h>

namespace gossamer::spgemm {
inline namespace GOSSAMER_ISA {

class Queue {
public:
    Queue(std::int64_t* entries, std::int64_t* place, std::int64_t tokens) : entries_(entries), place_(place), tokens_(tokens) {
        for (std::int64_t t = 0; t < tokens; ++t) entries_[t] = place_[t + 1] = -1;
        place_[0] = 0;
    }

    std::int64_t claim() { return __atomic_fetch_add(&claimed_, 1, __ATOMIC_RELAXED); }

    void publish(std::int64_t token, std::int64_t n) {
        __atomic_store_n(entries_ + token, n, __ATOMIC_SEQ_CST);
        advance();
    }

    // Where a token begins, or -1.
    std::int64_t place(std::int64_t token) const { return __atomic_load_n(place_ + token, __ATOMIC_ACQUIRE); }

    // Adds up what is published. Whoever finds another at it leaves it to him: he looks again before he goes.
    void advance() {
        for (;;) {
            if (__atomic_exchange_n(&busy_, 1, __ATOMIC_SEQ_CST)) return;
            std::int64_t t = next_;
            for (; t < tokens_; ++t) {
                const std::int64_t n = __atomic_load_n(entries_ + t, __ATOMIC_SEQ_CST);
                if (n < 0) break;
                __atomic_store_n(place_ + t + 1, place_[t] + n, __ATOMIC_RELEASE);
            }
            next_ = t;
            __atomic_store_n(&busy_, 0, __ATOMIC_SEQ_CST);
            if (t == tokens_ || __atomic_load_n(entries_ + t, __ATOMIC_SEQ_CST) < 0) return;
        }
    }

private:
    std::int64_t *entries_, *place_, tokens_, next_ = 0, claimed_ = 0;
    int busy_ = 0;
};

// The tokens that one thread holds until their places are known.
template <class Index, class Value>
class Held {
public:
    Held(Queue& queue, const Job<Index>& job, std::byte* memory, std::int64_t room)
        : queue_(queue), job_(job), col_(carve<Index>(memory, room)), val_(carve<Value>(memory, room)), room_(room) {}

    static std::int64_t bytes(std::int64_t room) {
        return room * static_cast<std::int64_t>(sizeof(Index) + sizeof(Value)) + 2 * 64;
    }

    // Makes room for `most_entries`.
    void reserve(std::int64_t most_entries) {
        if (used_ + most_entries <= room_ && count_ < limit) return;
        while (count_) settle(true);
    }

    Index* col() const { return col_ + used_; }
    Value* val() const { return val_ + used_; }

    void add(std::int64_t token, std::int64_t n) {
        token_[count_] = token, begin_[count_] = used_, entries_[count_++] = n;
        used_ += n;
        queue_.publish(token, n);
    }

    // Copies to C what has a place; with `wait`, all.
    void settle(bool wait) {
        for (int spins = 0; first_ < count_;) {
            const std::int64_t to = queue_.place(token_[first_]);
            if (to < 0) {
                if (!wait) return;
                queue_.advance();
                if (++spins > 1000) sched_yield();
                continue;
            }
            const auto n = static_cast<std::size_t>(entries_[first_]);
            std::memcpy(job_.c_col + to, col_ + begin_[first_], n * sizeof(Index));
            std::memcpy(static_cast<Value*>(job_.c_val) + to, val_ + begin_[first_], n * sizeof(Value));
            ++first_;
        }
        first_ = count_ = 0;
        used_ = 0;
    }

private:
    static constexpr int limit = 64;
    Queue& queue_;
    const Job<Index>& job_;
    Index* col_;
    Value* val_;
    std::int64_t room_, used_ = 0, token_[limit], begin_[limit], entries_[limit];
    int first_ = 0, count_ = 0;
};

template <class Ring, class Index>
void in_one_phase(Job<Index>& job) {
    using Value = typename Ring::Value;
    const int threads = static_cast<int>(most<std::int64_t>(1, least<std::int64_t>(job.threads, job.tokens)));
    Scratch memory(Worker<Ring, Index>::bytes(job), threads);
    if (threads == 1) { // nobody to wait for
        Worker<Ring, Index> worker(job, memory.part(0), true);
        std::int64_t at = 0;
        for (std::int64_t row = 0; row < job.rows; ++row)
            at += job.count[row] = worker.run(row, job.c_col + at, static_cast<Value*>(job.c_val) + at);
        return;
    }
    std::int64_t room = 1 << 15;
    for (std::int64_t t = 0; t < job.tokens; ++t) room = most(room, 2 * (job.starts[t + 1] - job.starts[t]));
    Scratch tables((2 * job.tokens + 1) * 8, 1), arenas(Held<Index, Value>::bytes(room), threads);
    auto* const table = reinterpret_cast<std::int64_t*>(tables.part(0));
    Queue queue(table, table + job.tokens, job.tokens);
    parallel_chunks(threads, threads, [&](std::int64_t part) {
        Worker<Ring, Index> worker(job, memory.part(static_cast<int>(part)), true);
        Held<Index, Value> held(queue, job, arenas.part(static_cast<int>(part)), room);
        for (std::int64_t token; (token = queue.claim()) < job.tokens;) {
            held.reserve(job.starts[token + 1] - job.starts[token]);
            std::int64_t n = 0;
            for (std::int64_t row = job.cuts[token]; row < job.cuts[token + 1]; ++row)
                n += job.count[row] = worker.run(row, held.col() + n, held.val() + n);
            held.add(token, n);
            held.settle(false);
        }
        held.settle(true);
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::spgemm
