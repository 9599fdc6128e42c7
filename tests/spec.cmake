# Specs: the loader, its texts, the fp64 reference.  They need nothing else of compiler/, so
# they are linked alone.
file(GLOB spec_SOURCES CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/compiler/spec*.c)
objects(o_spec ${spec_SOURCES} ${CMAKE_SOURCE_DIR}/compiler/target.c
  ${CMAKE_SOURCE_DIR}/compiler/ref.c)
target_link_libraries(o_spec PRIVATE PkgConfig::YAML)

function(spec_unit name)
  unit(${name} OBJECTS base spec)
  if(TARGET test_${name})
    target_sources(test_${name} PRIVATE golden.c ${ARGN})
    target_link_libraries(test_${name} PRIVATE PkgConfig::YAML)
  endif()
endfunction()
spec_unit(bad_specs)
spec_unit(spec)
spec_unit(spec_docs)
spec_unit(ref oracle.c)
