#include "maxsim.inl"

const gossamer::maxsim::Table gossamer::maxsim::avx2_table = gossamer::maxsim::kernels;
