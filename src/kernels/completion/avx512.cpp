#include "completion.inl"

const gossamer::completion::Table gossamer::completion::avx512_table = gossamer::completion::kernels;
