#include "relax.inl"

const gossamer::relax::Table gossamer::relax::neon_table = gossamer::relax::kernels;
