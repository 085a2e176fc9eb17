#include "ssm.inl"

const gossamer::ssm::Table gossamer::ssm::avx512_table = gossamer::ssm::kernels;
