# examples/NAME.c: programs as a user would write them; each is a test, on the emulated device.
function(example name)
  cmake_parse_arguments(E "" "" "LINK" ${ARGN})
  if(NOT EXISTS ${CMAKE_SOURCE_DIR}/examples/${name}.c OR NOT TARGET ${E_LINK}
     OR NOT TARGET attnc_emu)
    return()
  endif()
  add_executable(example_${name} ${CMAKE_SOURCE_DIR}/examples/${name}.c)
  target_link_libraries(example_${name} PRIVATE ${E_LINK} ${CMAKE_DL_LIBS})
  add_dependencies(example_${name} attnc_emu)
endfunction()

# A user's program has the public headers and nothing else of ours.
example(hello LINK attnc)
if(TARGET example_hello)
  add_test(NAME example_hello COMMAND example_hello)
  set_tests_properties(example_hello PROPERTIES LABELS e2e
    PASS_REGULAR_EXPRESSION "largest error [0-9.e-]+, 2048 rows: PASS"
    ENVIRONMENT "ATTNC_LIBCUDA=$<TARGET_FILE:attnc_emu>;ATTNC_CACHE=0")
endif()
