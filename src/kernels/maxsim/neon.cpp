#include "maxsim.inl"

const gossamer::maxsim::Table gossamer::maxsim::neon_table = gossamer::maxsim::kernels;
