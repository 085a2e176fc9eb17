#include "multiview.inl"

const gossamer::multiview::Table gossamer::multiview::avx512_table = gossamer::multiview::kernels;
