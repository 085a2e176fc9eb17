#include "multiview.inl"

const gossamer::multiview::Table gossamer::multiview::portable_table = gossamer::multiview::kernels;
