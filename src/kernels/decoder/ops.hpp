// What a decoder does besides matrix products, one table per ISA.
#pragma once

#include "../dispatch/isa.hpp"

#include <cstdint>

namespace gossamer::decoder {

enum class KvType { float16, float32, int8 };

inline constexpr int page_positions = 256; // the cache grows by pages; attention over one page is one task

// One layer's and one key-value head's part of a page, in `KvType`; `width` is head_dim padded to 16.
// Keys [16 blocks][width][16 positions], values [256 positions][width], then, for int8, 256 scales of each, float.
struct KvView {
    void* keys;
    void* values;
    float* key_scale;
    float* value_scale;
};

// Softmax over what was seen so far of one query: largest score, sum of weights, weighted values (width).
struct Partial {
    float top, sum;
    float* values;
};

struct AttendArguments {
    int queries, width;
    const float* q;    // (queries, width), already divided by sqrt(head_dim)
    const int* limit;  // positions of this page that each query sees
    Partial* partials; // (queries), updated
};

struct Ops {
    void (*rms_norm)(const float* x, const float* weight, int n, float eps, float* out);
    void (*rotate)(float* head, const float* cosine, const float* sine, int half); // Hugging Face's two halves
    void (*swiglu)(float* gate, const float* up, int n);                           // gate = silu(gate) up
    void (*put)(KvType type, const KvView& to, int position, int width, const float* key, const float* value);
    void (*attend)(KvType type, const KvView& page, const AttendArguments& a);
    void (*add)(float* y, const float* x, int n);
    int (*argmax)(const float* x, int n);                                           // the smallest index among equals
    float (*exponentials)(const float* x, int n, float top, float factor, float* out); // e^((x - top) factor), their sum
};

extern const Ops portable_table, avx2_table, avx512_table, neon_table;
const Ops& ops(); // of the active ISA

} // namespace gossamer::decoder
