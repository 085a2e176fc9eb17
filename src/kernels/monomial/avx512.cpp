#include "monomial.inl"

const gossamer::monomial::Table gossamer::monomial::avx512_table = gossamer::monomial::kernels;
