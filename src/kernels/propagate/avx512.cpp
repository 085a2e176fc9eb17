#include "propagate.inl"

const gossamer::propagate::Table gossamer::propagate::avx512_table = gossamer::propagate::kernels;
