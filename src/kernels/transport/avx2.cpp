#include "transport.inl"

const gossamer::transport::Table gossamer::transport::avx2_table = gossamer::transport::kernels;
