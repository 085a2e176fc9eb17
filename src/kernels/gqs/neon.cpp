#include "gqs.inl"

const gossamer::gqs::Table gossamer::gqs::neon_table = gossamer::gqs::kernels;
