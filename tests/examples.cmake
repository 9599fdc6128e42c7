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
    ENVIRONMENT "ATTNC_LIBCUDA=$<TARGET_FILE:attnc_emu>;ATTNC_CACHE=0;ATTNC_TUNE_DIR=${CMAKE_BINARY_DIR}/untuned")
endif()

example(tune LINK attnc)
if(TARGET example_tune AND TARGET attnc_cli)
  add_dependencies(example_tune attnc_cli)
  add_test(NAME example_tune COMMAND example_tune)
  set_tests_properties(example_tune PROPERTIES LABELS e2e
    PASS_REGULAR_EXPRESSION "best of 4: [a-z_]+ [0-9]+x[0-9]+, [0-9.e+]+"
    ENVIRONMENT "ATTNC_LIBCUDA=$<TARGET_FILE:attnc_emu>;ATTNC_CACHE=0;ATTNC_TUNE_DIR=${CMAKE_BINARY_DIR}/example-tune")
endif()

example(engine LINK attnc)
if(TARGET example_engine)
  target_link_libraries(example_engine PRIVATE m)
  add_test(NAME example_engine COMMAND example_engine)
  set_tests_properties(example_engine PROPERTIES LABELS e2e
    FAIL_REGULAR_EXPRESSION "error\\[|, 0 bytes of workspace|another template"
    PASS_REGULAR_EXPRESSION "30 replays of one graph, [1-9][0-9]* with prompts beside single tokens, [0-9]+ rows of up to 1052 keys, largest error [0-9.e-]+: PASS"
    ENVIRONMENT "ATTNC_LIBCUDA=$<TARGET_FILE:attnc_emu>;ATTNC_CACHE=0;ATTNC_TUNE_DIR=${CMAKE_BINARY_DIR}/untuned;ATTNC_EMU=findings=stderr")
endif()

# Compiled to disk by the command line, then launched by what links libattnc_rt alone.
example(bundle LINK attnc_rt)
if(TARGET example_bundle AND TARGET attnc_cli)
  set(kernels ${CMAKE_CURRENT_BINARY_DIR}/kernels)
  add_test(NAME example_bundle_compile COMMAND attnc_cli compile
    ${CMAKE_SOURCE_DIR}/specs/llama3_8b_prefill.attn.yaml --arch sm_80,sm_90 -o ${kernels})
  add_test(NAME example_bundle COMMAND example_bundle ${kernels} llama3_8b_prefill)
  set_tests_properties(example_bundle_compile PROPERTIES FIXTURES_SETUP kernels LABELS e2e)
  set_tests_properties(example_bundle PROPERTIES FIXTURES_REQUIRED kernels LABELS e2e
    PASS_REGULAR_EXPRESSION "98304 of 98304 values are 1: PASS"
    ENVIRONMENT "ATTNC_LIBCUDA=$<TARGET_FILE:attnc_emu>")
endif()

# The commands that the documentation shows; tuning under a sanitizer would take minutes.
find_package(Python3 3.9 COMPONENTS Interpreter)
if(TARGET attnc_cli AND TARGET attnc_emu AND Python3_FOUND AND NOT ATTNC_SANITIZE)
  add_test(NAME docs_commands COMMAND Python3::Interpreter
    ${CMAKE_CURRENT_SOURCE_DIR}/docs_commands.py ${CMAKE_SOURCE_DIR} $<TARGET_FILE_DIR:attnc_cli>
    $<TARGET_FILE_DIR:attnc_emu>)
  set_tests_properties(docs_commands PROPERTIES LABELS cli TIMEOUT 300)
endif()
