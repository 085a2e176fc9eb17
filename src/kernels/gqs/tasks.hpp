// Task-centric split: the list of all kept groups, in row order, in tasks of equal cost that ignore row borders; a
// row costs some groups more than it keeps, or tasks of many short rows would take longer. A row that
// a task holds whole is written directly; a row that it shares goes to one of the task's two slots, and one thread
// adds the slots in task order. The cut depends on the matrix alone, so that results do too.
#pragma once

#include "../dispatch/parallel.hpp"
#include "../dispatch/scratch.hpp"
#include "../lowrank/term.inl"
#include "gqs.hpp"

namespace gossamer::gqs {
inline namespace GOSSAMER_ISA {

inline constexpr std::int64_t weights_per_task = 65'536, least_tasks = 32;

inline std::int64_t row_cost(const Matrix& a) { return ceil_div(128, most<std::int64_t>(a.groups.group, 1)); } // groups

inline std::int64_t total_cost(const Matrix& a) { return a.groups.count + a.rows * row_cost(a); }

inline std::int64_t count_tasks(const Matrix& a) {
    const std::int64_t enough = ceil_div(total_cost(a) * a.groups.group, weights_per_task);
    return least(a.groups.count, most(enough, least_tasks));
}

// The kept group where task `task` of `tasks` begins.
inline std::int64_t first_group(const Matrix& a, std::int64_t task, std::int64_t tasks) {
    const std::int64_t extra = row_cost(a), cost = task * total_cost(a) / tasks;
    std::int64_t low = 0, high = a.rows; // row_ptr[low] + low extra <= cost
    while (high - low > 1) {
        const std::int64_t middle = low + (high - low) / 2;
        (a.row_ptr[middle] + middle * extra <= cost ? low : high) = middle;
    }
    const std::int64_t inside = most<std::int64_t>(0, cost - (a.row_ptr[low] + low * extra) - extra);
    return least<std::int64_t>(a.row_ptr[low] + inside, a.row_ptr[low + 1]);
}

inline std::int64_t row_of(const Matrix& a, std::int64_t group) { // the row whose kept groups include `group`
    std::int64_t low = 0, high = a.rows; // row_ptr[low] <= group < row_ptr[high]
    while (high - low > 1) {
        const std::int64_t middle = low + (high - low) / 2;
        (a.row_ptr[middle] <= group ? low : high) = middle;
    }
    return low;
}

// The first row that begins at kept group `group` or later. A row belongs to the task that holds its beginning: that
// one adds the low-rank term, straight to y, since what others hold of the row waits in their slots.
inline std::int64_t first_owned(const Matrix& a, std::int64_t group) {
    std::int64_t low = 0, high = a.rows; // row_ptr[low - 1] < group <= row_ptr[high]
    while (low < high) {
        const std::int64_t middle = low + (high - low) / 2;
        if (a.row_ptr[middle] < group)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

// Calls body(first, last, y of the row, thread), which adds kept groups [first, last) of one row to y[0 .. n).
template <class Real, class Body>
void by_tasks(const Matrix& a, std::int64_t n, Real* y, const lowrank::Added<Real>& added, int threads, const Body& body) {
    const std::int64_t tasks = count_tasks(a);
    const Scratch memory(2 * tasks * (n * static_cast<std::int64_t>(sizeof(Real)) + 8) + 8, 1);
    auto* slot_row = reinterpret_cast<std::int64_t*>(memory.part(0));
    auto* slots = reinterpret_cast<Real*>(slot_row + 2 * tasks);
    for (std::int64_t i = 0; i < a.rows * n; ++i) y[i] = 0;
    for (std::int64_t i = 0; i < 2 * tasks; ++i) slot_row[i] = -1;
    for (std::int64_t i = 0; i < 2 * tasks * n; ++i) slots[i] = 0;
    parallel_chunks_by_thread(tasks, threads, [&](std::int64_t task, int thread) {
        const std::int64_t begin = first_group(a, task, tasks);
        const std::int64_t end = task + 1 == tasks ? a.groups.count : first_group(a, task + 1, tasks);
        std::int64_t at = begin;
        int slot = 0;
        for (std::int64_t row = row_of(a, at); at < end; ++row) {
            const std::int64_t last = least<std::int64_t>(end, a.row_ptr[row + 1]);
            if (last == at) continue;
            Real* to = y + row * n;
            if (at > a.row_ptr[row] || last < a.row_ptr[row + 1]) {
                slot_row[2 * task + slot] = row;
                to = slots + (2 * task + slot) * n;
                ++slot;
            }
            body(at, last, to, thread);
            at = last;
        }
        const std::int64_t first = first_owned(a, begin);
        added.rows(first, task + 1 == tasks ? a.rows : first_owned(a, end), y + first * n, thread);
    });
    if (!tasks) added.rows(0, a.rows, y, 0);
    for (std::int64_t i = 0; i < 2 * tasks; ++i)
        if (slot_row[i] >= 0)
            for (std::int64_t c = 0; c < n; ++c) y[slot_row[i] * n + c] += slots[i * n + c];
}

// The usual way and the baseline: each thread owns one block of rows, however long they are.
template <class Real, class Body>
void by_rows(const Matrix& a, std::int64_t n, Real* y, const lowrank::Added<Real>& added, int threads, const Body& body) {
    parallel_chunks_by_thread(threads, threads, [&](std::int64_t share, int thread) {
        const std::int64_t first = share * a.rows / threads, past = (share + 1) * a.rows / threads;
        for (std::int64_t row = first; row < past; ++row) {
            for (std::int64_t c = 0; c < n; ++c) y[row * n + c] = 0;
            if (a.row_ptr[row] < a.row_ptr[row + 1]) body(a.row_ptr[row], a.row_ptr[row + 1], y + row * n, thread);
        }
        added.rows(first, past, y + first * n, thread);
    });
}

} // namespace GOSSAMER_ISA
} // namespace gossamer::gqs
