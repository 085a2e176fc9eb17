#include "propagate.inl"

const gossamer::propagate::Table gossamer::propagate::portable_table = gossamer::propagate::kernels;
