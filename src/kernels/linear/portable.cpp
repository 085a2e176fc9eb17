#include "linear.inl"

const gossamer::linear::Table gossamer::linear::portable_table = gossamer::linear::kernels;
