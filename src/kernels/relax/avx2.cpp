#include "relax.inl"

const gossamer::relax::Table gossamer::relax::avx2_table = gossamer::relax::kernels;
