#include "fftconv.inl"

const gossamer::fftconv::Table gossamer::fftconv::portable_table = gossamer::fftconv::kernels;
