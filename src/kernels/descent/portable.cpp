#include "descent.inl"

const gossamer::descent::Table gossamer::descent::portable_table = gossamer::descent::kernels;
