#include "unmix.inl"

const gossamer::unmix::Table gossamer::unmix::avx512_table = gossamer::unmix::kernels;
