# The compiler: index expressions and walks against brute force, the words' own checks, the
# models against the programs, and what attnc_compile answers to bad requests.
function(compiler_unit name)
  unit(${name} OBJECTS base compiler templates)
  if(TARGET test_${name})
    target_link_libraries(test_${name} PRIVATE PkgConfig::YAML)
    if(TARGET attnc_llvm)
      add_dependencies(test_${name} attnc_llvm)
    endif()
    set_tests_properties(${name} PROPERTIES
      ENVIRONMENT "ATTNC_LLVM=${CMAKE_BINARY_DIR}/lib/libattnc_llvm.so;LSAN_OPTIONS=suppressions=${CMAKE_CURRENT_SOURCE_DIR}/lsan.supp:print_suppressions=0")
  endif()
endfunction()
compiler_unit(tile)
compiler_unit(tile_roles)
compiler_unit(lower)
compiler_unit(limits)
compiler_unit(compile)
