#include "ssm.inl"

const gossamer::ssm::Table gossamer::ssm::neon_table = gossamer::ssm::kernels;
