unit(mma OBJECTS emulator base)
unit(product OBJECTS emulator base)
unit(arith OBJECTS emulator base)
unit(arith64 OBJECTS emulator base)
unit(video OBJECTS emulator base)
unit(small_floats OBJECTS emulator base)
unit(shadow OBJECTS emulator base)
unit(target OBJECTS emulator base)
unit(shadow_order OBJECTS emulator base)
unit(unproven OBJECTS base)
unit(emu_alu OBJECTS emulator base)
unit(emu_whole OBJECTS emulator base)
unit(emu_parse OBJECTS emulator base)
unit(emu_flow OBJECTS emulator base)
unit(emu_mem OBJECTS emulator base)
unit(emu_orders OBJECTS emulator base)
unit(emu_large OBJECTS emulator base)
unit(emu_compare OBJECTS emulator base)
unit(pool OBJECTS emulator base)
if(TARGET test_pool AND TARGET attnc_emu)
  add_dependencies(test_pool attnc_emu)
  target_compile_definitions(test_pool PRIVATE EMULATOR="$<TARGET_FILE:attnc_emu>")
endif()
unit(emu_driver OBJECTS emulator base)
unit(emu_context OBJECTS emulator base)
unit(emu_library OBJECTS emulator base)
unit(emu_image OBJECTS emulator base)
unit(emu_memory OBJECTS emulator base)
unit(emu_proc OBJECTS emulator base)
set_target_properties(test_emu_proc PROPERTIES ENABLE_EXPORTS ON) # it finds itself
unit(emu_hazards OBJECTS emulator base)
unit(emu_undefined OBJECTS emulator base)
unit(emu_registers OBJECTS emulator base)
unit(emu_cluster OBJECTS emulator base)
unit(emu_grid OBJECTS emulator base)
unit(emu_capture OBJECTS emulator base)
unit(emu_graph OBJECTS emulator base)
unit(emu_streams OBJECTS emulator base)
unit(emu_cluster_finds OBJECTS emulator base)
unit(emu_cluster_ring OBJECTS emulator base)
unit(tensormap OBJECTS emulator base)
unit(wgmma OBJECTS emulator base)
unit(emu_wgmma OBJECTS emulator base)
unit(emu_wmma OBJECTS emulator base)
unit(emu_tma OBJECTS emulator base)
unit(emu_tma_told OBJECTS emulator base)
unit(emu_gather OBJECTS emulator base)
unit(emu_mbarrier OBJECTS emulator base)
unit(emu_bulk OBJECTS emulator base)
unit(emu_print OBJECTS emulator base)

# Modules that say themselves what must come of them.
add_executable(emu_ptx unit/test_emu_ptx.c $<TARGET_OBJECTS:o_emulator> $<TARGET_OBJECTS:o_base>)
target_link_libraries(emu_ptx PRIVATE plain PkgConfig::CMOCKA)
add_test(NAME emu_ptx COMMAND emu_ptx ${CMAKE_CURRENT_SOURCE_DIR}/ptx)
add_test(NAME emu_ptx_can_fail COMMAND emu_ptx --wrong ${CMAKE_CURRENT_SOURCE_DIR}/ptx/wrong)
set_tests_properties(emu_ptx emu_ptx_can_fail PROPERTIES LABELS "unit")

add_executable(fuzz_ptx fuzz/fuzz_ptx.c $<TARGET_OBJECTS:o_emulator> $<TARGET_OBJECTS:o_base>)
target_link_libraries(fuzz_ptx PRIVATE plain)
add_test(NAME fuzz_ptx COMMAND fuzz_ptx --runs 20000)
set_tests_properties(fuzz_ptx PROPERTIES LABELS "fuzz")
add_test(NAME fuzz_ptx_long COMMAND fuzz_ptx --runs 500000 --seed 2)
set_tests_properties(fuzz_ptx_long PROPERTIES LABELS "fuzz;slow" TIMEOUT 2400)
add_executable(fuzz_graph fuzz/fuzz_graph.c $<TARGET_OBJECTS:o_emulator> $<TARGET_OBJECTS:o_base>)
target_link_libraries(fuzz_graph PRIVATE plain)
add_test(NAME fuzz_graph COMMAND fuzz_graph --runs 20000)
set_tests_properties(fuzz_graph PROPERTIES LABELS "fuzz")
add_test(NAME fuzz_graph_long COMMAND fuzz_graph --runs 1000000 --seed 2)
set_tests_properties(fuzz_graph_long PROPERTIES LABELS "fuzz;slow" TIMEOUT 2400)

# What the emulator accepts, the assembler accepts, over the targets.  An interpreter cannot
# load a sanitized library.
find_program(PTXAS ptxas HINTS /usr/local/cuda/bin)
find_package(Python3 COMPONENTS Interpreter)
if(PTXAS AND Python3_FOUND AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  rotating(emu_forms 10 COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/emu_forms.py
    {shard} ${CMAKE_SOURCE_DIR}/emulator/ptx/ops.def $<TARGET_FILE:attnc_emu> ${PTXAS} 75:63 80:70
    86:72 89:78 90:80 90a:80 100:86 100f:88 103a:88 120:90 120a:90 LABELS unit ptxas)
endif()

# What one of the two takes and the other does not, form by form and around each form, has a reason.
if(PTXAS AND Python3_FOUND AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  set(difference ${CMAKE_CURRENT_SOURCE_DIR}/conformance/forms_difference.py)
  rotating(forms_difference 30 COMMAND ${Python3_EXECUTABLE} -B ${difference} {shard}
    ${CMAKE_SOURCE_DIR}/emulator/ptx/ops.def $<TARGET_FILE:attnc_emu> ${PTXAS}
    ${CMAKE_CURRENT_SOURCE_DIR}/conformance/forms_difference.txt LABELS unit ptxas)
  add_test(NAME forms_difference_can_fail COMMAND ${Python3_EXECUTABLE} -B ${difference} --self-test)
  set_tests_properties(forms_difference_can_fail PROPERTIES LABELS unit)
endif()

# A kernel for each form, run, recorded and replayed; what has been recorded on chips, and what the
# page on unproven forms says of it.
if(TARGET attnc AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  set(conformance ${CMAKE_CURRENT_SOURCE_DIR}/conformance)
  rotating(conformance 30 COMMAND ${Python3_EXECUTABLE} ${conformance}/test_golden.py
    --shard {shard} LABELS unit PROPERTIES COST 60)
  set_tests_properties(conformance conformance_all PROPERTIES
    ENVIRONMENT "ATTNC_LIBRARY=$<TARGET_FILE:attnc>;PYTHONDONTWRITEBYTECODE=1")
  add_test(NAME conformance_recordings COMMAND ${Python3_EXECUTABLE} ${conformance}/golden/golden
    replay --attnc ${CMAKE_BINARY_DIR})
  set_tests_properties(conformance_recordings PROPERTIES LABELS unit TIMEOUT 300
    ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endif()
