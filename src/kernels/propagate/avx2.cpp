#include "propagate.inl"

const gossamer::propagate::Table gossamer::propagate::avx2_table = gossamer::propagate::kernels;
