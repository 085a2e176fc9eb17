#include "gqs.inl"

const gossamer::gqs::Table gossamer::gqs::portable_table = gossamer::gqs::kernels;
