#include "monomial.inl"

const gossamer::monomial::Table gossamer::monomial::neon_table = gossamer::monomial::kernels;
