#include "completion.inl"

const gossamer::completion::Table gossamer::completion::neon_table = gossamer::completion::kernels;
