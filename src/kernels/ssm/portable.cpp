#include "ssm.inl"

const gossamer::ssm::Table gossamer::ssm::portable_table = gossamer::ssm::kernels;
