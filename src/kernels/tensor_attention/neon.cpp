#include "tensor_attention.inl"

const gossamer::tensor_attention::Table gossamer::tensor_attention::neon_table = gossamer::tensor_attention::kernels;
