# The command line: its parts alone, and the program itself (tests/cli/*.py, standard
# library only).
find_package(Python3 COMPONENTS Interpreter)

if(TARGET attnc)
  set(cli_parts ${cli_SOURCES})
  list(FILTER cli_parts EXCLUDE REGEX "/main\\.c$")
  add_executable(test_cli unit/test_cli.c ${cli_parts} $<TARGET_OBJECTS:o_harness>
    $<TARGET_OBJECTS:o_base>)
  add_dependencies(test_cli code_id)
  target_link_libraries(test_cli PRIVATE attnc plain PkgConfig::CMOCKA)
  if(ATTNC_SODIUM_FOUND)
    target_link_libraries(test_cli PRIVATE PkgConfig::ATTNC_SODIUM)
  endif()
  target_compile_definitions(test_cli PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}"
    BUILD_DIR="${CMAKE_BINARY_DIR}")
  add_test(NAME cli COMMAND test_cli)
  set_tests_properties(cli PROPERTIES LABELS "unit")
endif()

# The reader of machine code, with ptxas where there is one.
add_library(sass STATIC EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/sass/cubin.c
  ${CMAKE_SOURCE_DIR}/sass/sass.c ${CMAKE_SOURCE_DIR}/sass/sass_loops.c
  ${CMAKE_SOURCE_DIR}/sass/ptxas.c)
target_link_libraries(sass PUBLIC plain)
add_executable(test_sass unit/test_sass.c $<TARGET_OBJECTS:o_base>)
add_dependencies(test_sass code_id)
target_link_libraries(test_sass PRIVATE sass plain PkgConfig::CMOCKA)
add_test(NAME sass COMMAND test_sass)
set_tests_properties(sass PROPERTIES LABELS "unit")

# Those that start kernels need the emulator.
function(cli_test name)
  set(flags $<$<BOOL:${ATTNC_SANITIZE}>:-fsanitize=address,undefined>)
  add_test(NAME cli_${name}
    COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_SOURCE_DIR}/cli/${name}_test.py)
  set_tests_properties(cli_${name} PROPERTIES LABELS "cli;${ARGN}"
    ENVIRONMENT "ATTNC=$<TARGET_FILE:attnc_cli>;CC=${CMAKE_C_COMPILER};SANITIZE=${flags}")
endfunction()
if(TARGET attnc_cli AND Python3_FOUND)
  cli_test(help)
  cli_test(errors)
  cli_test(compile)
  cli_test(explain)
  cli_test(tiles)
  if(TARGET attnc_emu)
    cli_test(run)
    cli_test(tune)
    cli_test(tune_tables)
    cli_test(tune_fleet)
    cli_test(tune_search slow)
    set_tests_properties(cli_tune_search PROPERTIES TIMEOUT 3600)
    cli_test(slurm slow)
    set_tests_properties(cli_slurm PROPERTIES TIMEOUT 900 SKIP_RETURN_CODE 77)
    if(NOT ATTNC_SANITIZE) # which no interpreter loads
      cli_test(tune_agree)
    endif()
  endif()
  if(TARGET attnc_emu AND TARGET attnc_rt AND NOT ATTNC_SANITIZE)
    cli_test(pack)
    set_property(TEST cli_pack APPEND PROPERTY ENVIRONMENT "RT=$<TARGET_FILE:attnc_rt>"
      "STUB=$<TARGET_FILE:cuda_stub>" "EMU=$<TARGET_FILE:attnc_emu>"
      "BUNDLE=${CMAKE_BINARY_DIR}/bin/example_bundle")
  endif()
endif()
