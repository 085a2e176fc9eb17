#include "fftconv.hpp"
#include "pairs.inl"

const gossamer::fftconv::PairProduct gossamer::fftconv::avx512bf16_pair_product = pair_product;
