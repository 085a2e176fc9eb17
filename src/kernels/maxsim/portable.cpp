#include "maxsim.inl"

const gossamer::maxsim::Table gossamer::maxsim::portable_table = gossamer::maxsim::kernels;
