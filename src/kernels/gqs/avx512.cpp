#include "gqs.inl"

const gossamer::gqs::Table gossamer::gqs::avx512_table = gossamer::gqs::kernels;
