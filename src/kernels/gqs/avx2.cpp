#include "gqs.inl"

const gossamer::gqs::Table gossamer::gqs::avx2_table = gossamer::gqs::kernels;
