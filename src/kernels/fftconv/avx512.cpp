#include "fftconv.inl"

const gossamer::fftconv::Table gossamer::fftconv::avx512_table = gossamer::fftconv::kernels;
