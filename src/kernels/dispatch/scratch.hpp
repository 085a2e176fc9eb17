// Working memory of one call, taken before threads start, so that running out of it is an exception. A thread keeps up to
// two blocks of 64 MB for its next call.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gossamer {

class Scratch {
public:
    Scratch(std::int64_t bytes_a_part, int parts); // cache-line aligned, not initialised; throws std::bad_alloc
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    std::byte* part(int index) const;

private:
    std::byte* data_;
    std::int64_t stride_;
};

} // namespace gossamer
