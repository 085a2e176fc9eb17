#include "monarch.inl"

const gossamer::monarch::Table gossamer::monarch::avx2_table = gossamer::monarch::kernels;
