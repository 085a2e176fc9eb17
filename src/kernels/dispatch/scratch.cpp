#include "scratch.hpp"

#include <new>
#include <utility>

namespace gossamer {
namespace {
constexpr std::int64_t line = 64;
constexpr std::int64_t largest_kept = 64 * 1024 * 1024;

// Blocks of earlier calls of this thread, their sizes in a line before what the caller sees. The system takes large blocks
// back when they are freed, and handing their pages out again at the next call can take longer than the call.
struct Kept {
    std::byte* block = nullptr;
    ~Kept() { ::operator delete(block, std::align_val_t{line}); }
};
thread_local Kept kept[2];

std::int64_t& size_of(std::byte* block) { return *reinterpret_cast<std::int64_t*>(block); }
std::int64_t bytes(std::byte* block) { return block ? size_of(block) : 0; }
} // namespace

Scratch::Scratch(std::int64_t bytes_a_part, int parts)
    : data_(nullptr), stride_((bytes_a_part + 2 * line - 1) / line * line) { // a line apart: no false sharing
    const std::int64_t needed = stride_ * parts + line;
    std::byte* block = nullptr;
    for (Kept& old : kept) // the smaller one that is large enough
        if (bytes(old.block) >= needed && (!block || bytes(old.block) < bytes(block))) std::swap(old.block, block);
    if (!block) {
        block = static_cast<std::byte*>(::operator new(static_cast<std::size_t>(needed), std::align_val_t{line}));
        size_of(block) = needed;
    }
    data_ = block + line;
}

Scratch::~Scratch() {
    std::byte* block = data_ - line;
    if (bytes(block) <= largest_kept)
        for (Kept& old : kept) // the smallest of the three goes
            if (bytes(old.block) < bytes(block)) std::swap(old.block, block);
    ::operator delete(block, std::align_val_t{line});
}

std::byte* Scratch::part(int index) const { return data_ + stride_ * index; }

} // namespace gossamer
