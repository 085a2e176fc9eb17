#include "gqs.inl"

const gossamer::gqs::Table gossamer::gqs::neon_dot_table = gossamer::gqs::kernels;
