#include "walsh.inl"

const gossamer::walsh::Table gossamer::walsh::avx2_table = gossamer::walsh::kernels;
