unit(mma OBJECTS emulator base)
unit(arith OBJECTS emulator base)
unit(shadow OBJECTS emulator base)
unit(unproven OBJECTS base)
unit(emu_alu OBJECTS emulator base)
unit(emu_parse OBJECTS emulator base)
unit(emu_flow OBJECTS emulator base)
unit(emu_mem OBJECTS emulator base)
unit(emu_driver OBJECTS emulator base)
unit(emu_hazards OBJECTS emulator base)
unit(emu_registers OBJECTS emulator base)
unit(emu_cluster OBJECTS emulator base)
unit(tensormap OBJECTS emulator base)
unit(wgmma OBJECTS emulator base)
unit(emu_wgmma OBJECTS emulator base)
unit(emu_tma OBJECTS emulator base)

add_executable(fuzz_ptx fuzz/fuzz_ptx.c $<TARGET_OBJECTS:o_emulator> $<TARGET_OBJECTS:o_base>)
target_link_libraries(fuzz_ptx PRIVATE plain)
add_test(NAME fuzz_ptx COMMAND fuzz_ptx --runs 20000)
set_tests_properties(fuzz_ptx PROPERTIES LABELS "fuzz")
add_test(NAME fuzz_ptx_long COMMAND fuzz_ptx --runs 500000 --seed 2)
set_tests_properties(fuzz_ptx_long PROPERTIES LABELS "fuzz;slow" TIMEOUT 2400)

# What the emulator accepts, the assembler accepts, over the targets.  An interpreter cannot
# load a sanitized library.
find_program(PTXAS ptxas HINTS /usr/local/cuda/bin)
find_package(Python3 COMPONENTS Interpreter)
if(PTXAS AND Python3_FOUND AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  add_test(NAME emu_forms COMMAND Python3::Interpreter
    ${CMAKE_CURRENT_SOURCE_DIR}/emu_forms.py ${CMAKE_SOURCE_DIR}/emulator/ops.def
    $<TARGET_FILE:attnc_emu> ${PTXAS} 75:63 80:70 86:72 89:78 90:80 90a:80 120:90)
  set_tests_properties(emu_forms PROPERTIES LABELS "unit;ptxas")
endif()
