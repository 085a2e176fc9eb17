#include "monomial.inl"

const gossamer::monomial::Table gossamer::monomial::avx2_table = gossamer::monomial::kernels;
