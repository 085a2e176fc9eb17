// A persistent pool that is woken once for a whole program of phases, not once a phase.
//
// Every thread claims tasks of the current phase from one atomic word; whoever finishes the last task runs the
// serial step between the phases and opens the next. Nobody waits for a thread that holds no task: a worker that
// the system has descheduled costs its share of the work, never the progress of the others. Waiting threads spin
// for some tens of microseconds, then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace gossamer {

class Program {
public:
    virtual ~Program() = default;
    // Serial step before a phase; returns its number of tasks (0: go on to the next phase, -1: the program ends).
    virtual int begin(int phase) noexcept = 0;
    virtual void run(int phase, int task) noexcept = 0; // tasks of a phase run in any order, on any thread
};

class Pool {
public:
    explicit Pool(int threads); // the caller of execute() counts as one
    ~Pool();
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    void execute(Program& program); // one caller at a time
    int threads() const { return static_cast<int>(workers_.size()) + 1; }

    static constexpr int max_tasks = (1 << 19) - 1;

private:
    // sequence (24 bits) | tasks (20) | next task (20): a claim needs this word and nothing else.
    // No tasks: the program has ended
    static std::uint64_t pack(std::uint64_t sequence, int tasks) {
        return sequence << 40 | static_cast<std::uint64_t>(tasks) << 20;
    }
    static int tasks_of(std::uint64_t word) { return static_cast<int>(word >> 20 & 0xfffff); }
    static int next_of(std::uint64_t word) { return static_cast<int>(word & 0xfffff); }

    bool work();               // claims and runs one task; false when none is open
    void open(int first);      // runs serial steps until a phase has tasks, and publishes it
    void publish(int tasks);
    void wait(std::uint64_t sequence);
    void serve();

    std::vector<std::thread> workers_;
    long owner_;
    Program* program_ = nullptr; // these three are stable while any task of the phase is unfinished
    int phase_ = 0;
    int tasks_ = 0;
    std::uint64_t sequence_ = 0;
    alignas(64) std::atomic<std::uint64_t> word_{0};
    alignas(64) std::atomic<int> done_{0};
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<std::uint32_t> generation_{0};
    std::atomic<bool> stop_{false};
};

} // namespace gossamer
