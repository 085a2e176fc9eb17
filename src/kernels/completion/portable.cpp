#include "completion.inl"

const gossamer::completion::Table gossamer::completion::portable_table = gossamer::completion::kernels;
