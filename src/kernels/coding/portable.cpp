#include "coding.inl"

const gossamer::coding::Table gossamer::coding::portable_table = gossamer::coding::kernels;
