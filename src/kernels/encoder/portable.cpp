#include "encoder.inl"

const gossamer::encoder::Table gossamer::encoder::portable_table = gossamer::encoder::kernels;
