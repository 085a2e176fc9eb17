#include "multiview.inl"

const gossamer::multiview::Table gossamer::multiview::neon_table = gossamer::multiview::kernels;
