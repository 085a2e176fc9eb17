#include "unmix.inl"

const gossamer::unmix::Table gossamer::unmix::avx2_table = gossamer::unmix::kernels;
