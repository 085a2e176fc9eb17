#include "relax.inl"

const gossamer::relax::Table gossamer::relax::avx512_table = gossamer::relax::kernels;
