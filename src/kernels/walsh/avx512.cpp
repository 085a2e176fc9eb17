#include "walsh.inl"

const gossamer::walsh::Table gossamer::walsh::avx512_table = gossamer::walsh::kernels;
