# What takes processes and threads by the hundred: a little everyday, the whole with label
# slow.  The preset tsan builds the same for ThreadSanitizer.
if(TARGET attnc AND TARGET attnc_llvm AND TARGET attnc_emu)
  add_executable(torture torture/torture.c ${CMAKE_SOURCE_DIR}/runtime/drv.c
    $<TARGET_OBJECTS:o_base>)
  add_dependencies(torture code_id attnc_llvm attnc_emu attnc_cc)
  target_link_libraries(torture PRIVATE attnc plain)
  target_compile_definitions(torture PRIVATE EMULATOR="$<TARGET_FILE:attnc_emu>")
  foreach(name storm threads cc helpers)
    add_test(NAME torture_${name} COMMAND torture ${name} 100)
    add_test(NAME torture_${name}_all COMMAND torture ${name} 1600)
    set_tests_properties(torture_${name} PROPERTIES LABELS "runtime" PROCESSORS 2)
    set_tests_properties(torture_${name}_all PROPERTIES LABELS "runtime;slow" PROCESSORS 2
      TIMEOUT 600)
  endforeach()
endif()
