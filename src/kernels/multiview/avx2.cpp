#include "multiview.inl"

const gossamer::multiview::Table gossamer::multiview::avx2_table = gossamer::multiview::kernels;
