#include "gaunt.inl"

const gossamer::gaunt::Table gossamer::gaunt::portable_table = gossamer::gaunt::kernels;
