#include "walsh.inl"

const gossamer::walsh::Table gossamer::walsh::portable_table = gossamer::walsh::kernels;
