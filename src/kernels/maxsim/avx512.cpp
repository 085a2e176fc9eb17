#include "maxsim.inl"

const gossamer::maxsim::Table gossamer::maxsim::avx512_table = gossamer::maxsim::kernels;
