# CUDA programs of ours (cuda/README.md).  Their host part is made by the C compiler and their
# kernels are the committed PTX, so that they run everywhere; with nvcc all of them are made
# whole as well.
if(NOT TARGET attnc_emu)
  return()
endif()

# A folder in which a program finds the emulator as its driver.
set(LIBCUDA ${CMAKE_BINARY_DIR}/libcuda)
file(MAKE_DIRECTORY ${LIBCUDA})
file(CREATE_LINK ../lib/libattnc-emu.so ${LIBCUDA}/libcuda.so.1 SYMBOLIC)

set(cuda_run ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/cuda/run.py ${LIBCUDA})
add_library(cuda_rt STATIC cuda/rt.c)
# Handles are numbers on one side and pointers on the other.
target_compile_options(cuda_rt PRIVATE -Wno-pedantic)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  ${CMAKE_CURRENT_SOURCE_DIR}/cuda/programs.txt)
file(STRINGS cuda/programs.txt cuda_programs REGEX "^[a-z]")
foreach(row ${cuda_programs})
  string(REGEX REPLACE " .*" "" name ${row})
  file(STRINGS cuda/${name}.cu whole REGEX "^PROGRAM\\(")
  if(NOT whole)
    continue()
  endif()
  add_executable(cuda_${name} cuda/${name}.cu)
  set_source_files_properties(cuda/${name}.cu PROPERTIES LANGUAGE C COMPILE_OPTIONS "-xc")
  target_compile_options(cuda_${name} PRIVATE -Wno-pedantic -Wno-conversion -Wno-unused-function
    -frounding-math)
  target_compile_definitions(cuda_${name} PRIVATE PROGRAMS="${CMAKE_CURRENT_SOURCE_DIR}/cuda")
  target_link_libraries(cuda_${name} PRIVATE cuda_rt m ${CMAKE_DL_LIBS})
  add_dependencies(cuda_${name} attnc_emu)
  add_test(NAME cuda_${name} COMMAND ${cuda_run} ${name} $<TARGET_FILE:cuda_${name}>)
  set_tests_properties(cuda_${name} PROPERTIES LABELS "unit")
endforeach()

# By nvcc, seconds each; skipped where there is none.
find_program(NVCC nvcc HINTS /usr/local/cuda/bin)
if(NOT ATTNC_SANITIZE AND NOT ATTNC_TSAN)
  rotating(cuda_whole 17 COMMAND ${cuda_run} --nvcc ${NVCC} ${CMAKE_BINARY_DIR}/cuda-whole
    ${CMAKE_SOURCE_DIR} --shard {shard} LABELS "unit;nvcc")
  add_test(NAME cuda_static COMMAND ${cuda_run} --static ${NVCC} ${CMAKE_BINARY_DIR}/cuda-whole
    ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda_static PROPERTIES LABELS "unit;nvcc" SKIP_RETURN_CODE 77)
endif()
