# Specs: the loader, its texts, the fp64 reference.  What a schedule may pin is declared by
# the templates, so that they are linked too.
function(spec_unit name)
  unit(${name} OBJECTS base compiler templates reference)
  if(TARGET test_${name})
    target_sources(test_${name} PRIVATE golden.c ${ARGN})
  endif()
endfunction()
spec_unit(bad_specs)
spec_unit(spec)
spec_unit(spec_docs)
spec_unit(support)
spec_unit(ref oracle.c unit/ref_kit.c)
spec_unit(ref_mods oracle.c unit/ref_kit.c)
spec_unit(ref_seq oracle.c)
spec_unit(ref_ops)
spec_unit(block_lists oracle.c unit/ref_kit.c unit/expr_random.c)

add_executable(fuzz_spec fuzz/fuzz_spec.c golden.c $<TARGET_OBJECTS:o_base>
  $<TARGET_OBJECTS:o_compiler> $<TARGET_OBJECTS:o_templates>)
target_link_libraries(fuzz_spec PRIVATE plain yaml)
target_compile_definitions(fuzz_spec PRIVATE SOURCE_DIR="${CMAKE_SOURCE_DIR}")
add_test(NAME fuzz_spec COMMAND fuzz_spec --runs 20000)
set_tests_properties(fuzz_spec PROPERTIES LABELS "fuzz")
add_test(NAME fuzz_spec_long COMMAND fuzz_spec --runs 1000000 --seed 2)
set_tests_properties(fuzz_spec_long PROPERTIES LABELS "fuzz;slow" TIMEOUT 2400)

find_package(Python3 COMPONENTS Interpreter)
if(Python3_FOUND)
  add_test(NAME spec_schema COMMAND Python3::Interpreter
    ${CMAKE_CURRENT_SOURCE_DIR}/schema_check.py)
  set_tests_properties(spec_schema PROPERTIES LABELS "unit" SKIP_RETURN_CODE 77)
endif()
