#include "monarch.inl"

const gossamer::monarch::Table gossamer::monarch::avx512_table = gossamer::monarch::kernels;
