# What is compiled, and with which flags for which instruction set: for the module, and for the check under emulation in
# tests/kernels/aarch64.

# A family is a folder: <isa>.cpp for each ISA, bind.cpp for Python.
set(GOSSAMER_FAMILIES csr quant gqs nm block lowrank decoder encoder linear fisher spgemm lscd monarch monomial ssm tensor_attention walsh gaunt fftconv depthwise descent relax transport completion elliptic topk multiview coding evolve propagate multigrid inverted maxsim unmix contrast)
set(GOSSAMER_OPTIONS -Wall -Wextra -ffp-contract=fast -fno-math-errno -Wno-psabi)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(GOSSAMER_ISAS avx2 avx512 avx512bf16)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
  set(GOSSAMER_ISAS neon neon_dot)
endif()

# Written in vectors: more than -O2 makes them no faster and doubles their time to compile.
foreach(family fftconv coding)
  set(level_${family} -O2)
endforeach()
# Its three searches must add alike, to the last bit.
set(level_inverted -ffp-contract=off)

set(flags_avx2 -mavx2 -mfma -mf16c -mbmi2)
set(flags_avx512 ${flags_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mprefer-vector-width=512 -Wno-uninitialized -Wno-maybe-uninitialized) # GCC bug 105593
set(flags_avx512bf16 ${flags_avx512} -mavx512vbmi2 -mavx512bf16)
set(flags_neon -DGOSSAMER_NEON=1)
set(flags_neon_dot -DGOSSAMER_NEON=2 -march=armv8.2-a+dotprod)

# Sources of the named families, and of what they share, without anything that needs Python. Families have sources for
# every ISA of the machine that they have a table for.
function(gossamer_kernel_sources out)
  set(root ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
  set(sources ${root}/dispatch/isa.cpp ${root}/dispatch/scratch.cpp ${root}/dispatch/pool.cpp)
  foreach(family IN LISTS ARGN)
    list(APPEND sources ${root}/${family}/portable.cpp)
    foreach(isa IN LISTS GOSSAMER_ISAS)
      set(source ${root}/${family}/${isa}.cpp)
      if(EXISTS ${source})
        list(APPEND sources ${source})
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags_${isa}};${level_${family}}")
      endif()
    endforeach()
    if(family STREQUAL inverted)
      set_source_files_properties(${root}/${family}/portable.cpp PROPERTIES COMPILE_OPTIONS ${level_inverted})
    endif()
    # Sixteen-lane vectors in registers of four take GCC minutes to unroll, and thirty instances of the sparse product
    # half a minute; where there is another ISA this path is the oracle.
    if(GOSSAMER_ISAS AND family MATCHES "^(linear|lscd|spgemm)$")
      set_source_files_properties(${root}/${family}/portable.cpp PROPERTIES COMPILE_OPTIONS "-O1")
    endif()
  endforeach()
  foreach(source linear/linear.cpp encoder/encoder.cpp lscd/csl.cpp walsh/bch.cpp walsh/detect.cpp walsh/peel.cpp fftconv/plan.cpp descent/graph.cpp transport/select.cpp evolve/topology.cpp multigrid/coarsen.cpp)
    get_filename_component(family ${source} DIRECTORY)
    if(family IN_LIST ARGN)
      list(APPEND sources ${root}/${source})
    endif()
  endforeach()
  set(${out} ${sources} PARENT_SCOPE)
endfunction()
