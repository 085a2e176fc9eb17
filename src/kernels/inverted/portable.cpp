#include "inverted.inl"

const gossamer::inverted::Table gossamer::inverted::portable_table = gossamer::inverted::kernels;
