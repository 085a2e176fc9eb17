#include "fftconv.inl"

const gossamer::fftconv::Table gossamer::fftconv::avx2_table = gossamer::fftconv::kernels;
