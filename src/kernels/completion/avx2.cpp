#include "completion.inl"

const gossamer::completion::Table gossamer::completion::avx2_table = gossamer::completion::kernels;
