#include "nm.inl"

const gossamer::nm::Table gossamer::nm::portable_table = gossamer::nm::kernels;
