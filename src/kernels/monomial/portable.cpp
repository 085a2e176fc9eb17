#include "monomial.inl"

const gossamer::monomial::Table gossamer::monomial::portable_table = gossamer::monomial::kernels;
