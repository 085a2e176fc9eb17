#include "scratch.hpp"

#include <new>

namespace gossamer {
namespace {
constexpr std::int64_t line = 64;
}

Scratch::Scratch(std::int64_t bytes_a_part, int parts)
    : data_(nullptr), stride_((bytes_a_part + 2 * line - 1) / line * line) { // a line apart: no false sharing
    data_ = static_cast<std::byte*>(
        ::operator new(static_cast<std::size_t>(stride_ * parts), std::align_val_t{line}));
}

Scratch::~Scratch() { ::operator delete(data_, std::align_val_t{line}); }

std::byte* Scratch::part(int index) const { return data_ + stride_ * index; }

} // namespace gossamer
