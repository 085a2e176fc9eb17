#include "transport.inl"

const gossamer::transport::Table gossamer::transport::neon_table = gossamer::transport::kernels;
