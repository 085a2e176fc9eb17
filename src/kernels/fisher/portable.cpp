#include "fisher.inl"

const gossamer::fisher::Table gossamer::fisher::portable_table = gossamer::fisher::kernels;
