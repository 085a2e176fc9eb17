#include "spgemm.inl"

const gossamer::spgemm::Table gossamer::spgemm::portable_table = gossamer::spgemm::kernels;
const gossamer::spgemm::Passes<std::int64_t> gossamer::spgemm::wide_table = gossamer::spgemm::passes<std::int64_t>;
