#include "walsh.inl"

const gossamer::walsh::Table gossamer::walsh::neon_table = gossamer::walsh::kernels;
