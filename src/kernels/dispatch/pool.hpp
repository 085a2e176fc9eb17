// A persistent pool that is woken once for a whole program of phases, not once a phase.
//
// The tasks of a phase are cut into one run of neighbours a thread: weights stream from memory about twice as fast
// in long runs as in small pieces that alternate between cores. A thread takes its own run from the front; then it
// takes from the back of the others'. Whoever finishes the last task runs the serial step between the phases and
// opens the next. Nobody waits for a thread that holds no task: a worker that the system has descheduled costs its
// share of the work, never the progress of the others. Waiting threads spin for some tens of microseconds, then sleep.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
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
    int threads() const { return count_; }

    static constexpr int max_tasks = (1 << 20) - 1;

private:
    // sequence (24 bits) | end of the run (20) | its first unclaimed task (20). The sequence makes a claim that was
    // prepared in an older phase fail.
    struct alignas(64) Run {
        std::atomic<std::uint64_t> word{0};
    };

    int claim(int home);      // a task, or -1 when none is open
    bool work(int home);      // claims and runs one task; false when none is open
    void open(int first);     // runs serial steps until a phase has tasks, and publishes it
    void publish(int tasks);  // no tasks: the program has ended
    void wait(std::uint64_t seen);
    void serve(int home);

    int count_;
    std::vector<std::thread> workers_;
    std::unique_ptr<Run[]> runs_;
    long owner_;
    Program* program_ = nullptr; // these are stable while any task of the phase is unfinished
    int phase_ = 0, tasks_ = 0;
    std::uint64_t sequence_ = 0;
    alignas(64) std::atomic<std::uint64_t> state_{1}; // sequence * 2 + (the program has ended)
    alignas(64) std::atomic<int> done_{0};
    alignas(64) std::atomic<int> sleepers_{0};
    std::atomic<std::uint32_t> generation_{0};
    std::atomic<bool> stop_{false};
};

} // namespace gossamer
