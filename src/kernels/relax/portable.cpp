#include "relax.inl"

const gossamer::relax::Table gossamer::relax::portable_table = gossamer::relax::kernels;
