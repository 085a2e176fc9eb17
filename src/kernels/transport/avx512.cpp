#include "transport.inl"

const gossamer::transport::Table gossamer::transport::avx512_table = gossamer::transport::kernels;
