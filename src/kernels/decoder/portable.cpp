#include "ops.inl"

const gossamer::decoder::Ops gossamer::decoder::portable_table = gossamer::decoder::kernels;
