#include "unmix.inl"

const gossamer::unmix::Table gossamer::unmix::portable_table = gossamer::unmix::kernels;
