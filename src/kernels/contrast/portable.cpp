#include "contrast.inl"

const gossamer::contrast::Table gossamer::contrast::portable_table = gossamer::contrast::kernels;
