#include "elliptic.inl"

const gossamer::elliptic::Table gossamer::elliptic::portable_table = gossamer::elliptic::kernels;
