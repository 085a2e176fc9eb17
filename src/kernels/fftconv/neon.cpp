#include "fftconv.inl"

const gossamer::fftconv::Table gossamer::fftconv::neon_table = gossamer::fftconv::kernels;
