#include "ssm.inl"

const gossamer::ssm::Table gossamer::ssm::avx2_table = gossamer::ssm::kernels;
