# A kernel of several launches: libattnc with one more template, whose table is the tests'
# (split/), in a folder of its own.  Programs that are linked with libattnc run with it.
if(NOT TARGET attnc OR NOT TARGET attnc_llvm OR NOT TARGET attnc_emu OR ATTNC_SANITIZE)
  return()
endif()
set(SPLIT ${CMAKE_BINARY_DIR}/split)
file(MAKE_DIRECTORY ${SPLIT})
foreach(lib attnc_llvm attnc-emu)
  file(CREATE_LINK ../lib/lib${lib}.so ${SPLIT}/lib${lib}.so SYMBOLIC)
endforeach()
library(attnc_split SHARED OBJECTS ${attnc_OBJECTS} LINK yaml
  SOURCES split/table.c split/split_fwd.c
    $<FILTER:$<TARGET_OBJECTS:o_templates>,EXCLUDE,/table\\.c\\.>)
exports(attnc_split attnc.map)
target_link_libraries(attnc_split PUBLIC attnc_rt)
set_target_properties(attnc_split PROPERTIES OUTPUT_NAME attnc SOVERSION ${ATTNC_ABI}
  LIBRARY_OUTPUT_DIRECTORY ${SPLIT})
add_dependencies(attnc_split attnc_llvm attnc_emu)

# split_test(NAME COMMAND …)
function(split_test name)
  cmake_parse_arguments(T "" "" "COMMAND" ${ARGN})
  add_test(NAME split_${name} COMMAND ${T_COMMAND})
  set_tests_properties(split_${name} PROPERTIES LABELS e2e SKIP_RETURN_CODE 77
    ENVIRONMENT "LD_LIBRARY_PATH=${SPLIT};ATTNC_LIBRARY=${SPLIT}/libattnc.so;ATTNC=$<TARGET_FILE:attnc_cli>;CC=${CMAKE_C_COMPILER};PYTHONDONTWRITEBYTECODE=1")
endfunction()
# Against the second oracle, warps and copies in three orders each.
split_test(cases COMMAND $<TARGET_FILE:e2e_matrix>
  "{dtype: bf16, head_dim: 64, return_lse: true} b2 h4/2 sq37 sk50 sm_80 template=split_fwd"
  "{dtype: fp16, head_dim: 32, causal: true, return_lse: true} b1 h2 sq33 sk20 sm_90a template=split_fwd"
  "{dtype: fp16, head_dim: 16, window: [5, 0]} b1 h3/1 sq19 sk64 sm_75 template=split_fwd"
  "{dtype: bf16, head_dim: 24, head_dim_v: 40, return_lse: true} b1 h1 sq5 sk1 sm_90 template=split_fwd"
  "{dtype: bf16, head_dim: 16, return_lse: true} b1 h1 sq3 sk0 sm_80 template=split_fwd")
split_test(doors COMMAND ${ATTNC_PYTHON}
  ${CMAKE_CURRENT_SOURCE_DIR}/split/split_test.py)
