#include "monarch.inl"

const gossamer::monarch::Table gossamer::monarch::portable_table = gossamer::monarch::kernels;
