#include "transport.inl"

const gossamer::transport::Table gossamer::transport::portable_table = gossamer::transport::kernels;
