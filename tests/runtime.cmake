# The runtime's tests: against a driver that records (tests/stub), a compiler that counts
# (tests/unit/fake_compiler.c), and cuda.h where there is one.
function(stub name)
  add_library(${name} SHARED stub/libcuda_stub.c)
  target_compile_definitions(${name} PRIVATE ${ARGN})
  target_link_libraries(${name} PRIVATE Threads::Threads)
endfunction()
stub(cuda_stub)
# Has none of what only later drivers have.
stub(cuda_stub_old cuFuncLoad=stub_hidden cuLaunchKernelEx=stub_hidden2
  cuTensorMapEncodeTiled=stub_hidden3 cuThreadExchangeStreamCaptureMode=stub_hidden4
  cuLinkCreate_v2=stub_hidden5)
stub(cuda_stub_broken cuMemsetD8Async=stub_hidden) # lacks what is needed

foreach(name recipe drv launch launch_map bundle key cache cache_gc cache_lock cache_zstd flight tunetab settings get operate cubin trace verdict execute)
  unit(${name} OBJECTS runtime base LABELS runtime)
  if(TARGET test_${name})
    target_sources(test_${name} PRIVATE unit/fake_compiler.c)
    add_dependencies(test_${name} cuda_stub cuda_stub_old cuda_stub_broken)
    target_compile_definitions(test_${name} PRIVATE
      STUB_LIBCUDA="$<TARGET_FILE:cuda_stub>"
      STUB_OLD="$<TARGET_FILE:cuda_stub_old>"
      STUB_BROKEN="$<TARGET_FILE:cuda_stub_broken>")
  endif()
endforeach()
if(TARGET test_execute)
  target_sources(test_execute PRIVATE ${CMAKE_SOURCE_DIR}/harness/execute.c
    ${CMAKE_SOURCE_DIR}/harness/timing.c ${CMAKE_SOURCE_DIR}/harness/device.c)
endif()
set_tests_properties(cache PROPERTIES PROCESSORS 2)
set_tests_properties(cache_zstd PROPERTIES SKIP_RETURN_CODE 77)

# C that is generated from a recipe, beside the runtime that reads it.
unit(emit_c OBJECTS runtime base LABELS runtime)
if(TARGET test_emit_c)
  target_sources(test_emit_c PRIVATE unit/fake_compiler.c ${CMAKE_SOURCE_DIR}/emit/emit_c.c
    ${CMAKE_SOURCE_DIR}/emit/emit_c_launch.c ${CMAKE_SOURCE_DIR}/emit/emit_c_rules.c ${CMAKE_SOURCE_DIR}/emit/emit_c_steps.c)
  add_dependencies(test_emit_c cuda_stub rules_text)
  target_compile_definitions(test_emit_c PRIVATE STUB_LIBCUDA="$<TARGET_FILE:cuda_stub>"
    CC="${CMAKE_C_COMPILER}")
endif()

# The real compiler, from text to a launch.
if(TARGET attnc AND TARGET attnc_llvm)
  unit(plan OBJECTS base LABELS runtime)
  if(TARGET test_plan)
    target_link_libraries(test_plan PRIVATE attnc)
    add_dependencies(test_plan attnc_llvm cuda_stub)
    target_compile_definitions(test_plan PRIVATE STUB_LIBCUDA="$<TARGET_FILE:cuda_stub>")
  endif()
  # Its compiles in attnc-cc; how many and how often killed is slow's to say.
  unit(cc OBJECTS base LABELS runtime)
  if(TARGET test_cc)
    target_link_libraries(test_cc PRIVATE attnc)
    add_dependencies(test_cc attnc_llvm attnc_cc cuda_stub)
    target_compile_definitions(test_cc PRIVATE STUB_LIBCUDA="$<TARGET_FILE:cuda_stub>"
      ATTNC_CC="$<TARGET_FILE:attnc_cc>")
    add_test(NAME cc_many COMMAND test_cc 100 2000)
    set_tests_properties(cc_many PROPERTIES LABELS "unit;runtime;slow" TIMEOUT 1200)
  endif()
  unit(identity OBJECTS base LABELS runtime)
  if(TARGET test_identity)
    target_sources(test_identity PRIVATE golden.c)
    target_link_libraries(test_identity PRIVATE attnc)
  endif()
endif()

# The real compiler and two emulated devices.
if(TARGET attnc AND TARGET attnc_llvm AND TARGET attnc_emu)
  unit(devices OBJECTS base LABELS runtime)
  if(TARGET test_devices)
    target_sources(test_devices PRIVATE ${CMAKE_SOURCE_DIR}/runtime/drv.c)
    target_link_libraries(test_devices PRIVATE attnc)
    add_dependencies(test_devices attnc_llvm attnc_emu)
    target_compile_definitions(test_devices PRIVATE EMULATOR="$<TARGET_FILE:attnc_emu>")
  endif()
endif()

# The tuner: the real compiler, an emulated device, the command and the test as workers.
if(TARGET attnc_cli AND TARGET attnc_llvm AND TARGET attnc_emu)
  unit(tune OBJECTS base LABELS runtime)
  if(TARGET test_tune)
    target_link_libraries(test_tune PRIVATE attnc)
    add_dependencies(test_tune attnc_cli attnc_cc attnc_llvm attnc_emu)
    target_compile_definitions(test_tune PRIVATE EMULATOR="$<TARGET_FILE:attnc_emu>")
    set_tests_properties(tune PROPERTIES PROCESSORS 2 TIMEOUT 300)
  endif()
endif()

# Public functions misused: the library that users have, and a plan of the emulator.
if(TARGET attnc AND TARGET attnc_llvm AND TARGET attnc_emu)
  unit(misuse OBJECTS base LABELS runtime)
  if(TARGET test_misuse)
    target_link_libraries(test_misuse PRIVATE attnc)
    add_dependencies(test_misuse attnc_llvm attnc_emu)
    target_compile_definitions(test_misuse PRIVATE EMULATOR="$<TARGET_FILE:attnc_emu>")
  endif()
endif()

# The same, and forks; the whole number of them is slow's.
if(TARGET attnc AND TARGET attnc_llvm AND TARGET attnc_emu)
  unit(fork OBJECTS base LABELS runtime)
  if(TARGET test_fork)
    target_sources(test_fork PRIVATE ${CMAKE_SOURCE_DIR}/runtime/drv.c)
    target_link_libraries(test_fork PRIVATE attnc)
    add_dependencies(test_fork attnc_llvm attnc_emu)
    target_compile_definitions(test_fork PRIVATE EMULATOR="$<TARGET_FILE:attnc_emu>")
    add_test(NAME fork_many COMMAND test_fork 150)
    set_tests_properties(fork_many PROPERTIES LABELS "unit;runtime;slow" TIMEOUT 600)
    set_tests_properties(fork fork_many PROPERTIES PROCESSORS 2)
  endif()
endif()

# Kernels by hand on an emulated device that has tensor maps.
if(TARGET attnc_rt AND TARGET attnc_emu)
  unit(maps OBJECTS base LABELS runtime)
  if(TARGET test_maps)
    target_link_libraries(test_maps PRIVATE attnc_rt)
    add_dependencies(test_maps attnc_emu)
    target_compile_definitions(test_maps PRIVATE EMULATOR="$<TARGET_FILE:attnc_emu>")
  endif()
endif()

unit(hash_block OBJECTS base LABELS runtime)

# Our declarations of the driver against NVIDIA's, where they are installed and new enough.
find_path(CUDA_INCLUDE cuda.h HINTS /usr/local/cuda/include ENV CUDA_HOME
  PATH_SUFFIXES include NO_CACHE)
if(CUDA_INCLUDE AND EXISTS ${CUDA_INCLUDE}/cuda.h)
  file(STRINGS ${CUDA_INCLUDE}/cuda.h CUDA_HEADER REGEX "^#define CUDA_VERSION [0-9]+$")
  string(REGEX MATCH "[0-9]+$" CUDA_HEADER "${CUDA_HEADER}")
endif()
if(CUDA_HEADER AND CUDA_HEADER GREATER_EQUAL 13000)
  unit(cuda_abi LABELS runtime)
  target_include_directories(test_cuda_abi SYSTEM PRIVATE ${CUDA_INCLUDE})
endif()

# libattnc_rt is for machines without a compiler: none of it may be asked for.
find_program(NM NAMES nm)
if(NM AND TARGET attnc_rt)
  add_test(NAME rt_needs_no_compiler COMMAND ${CMAKE_COMMAND} -DNM=${NM}
    -DLIB=$<TARGET_FILE:attnc_rt> -P ${CMAKE_CURRENT_SOURCE_DIR}/stub/rt_symbols.cmake)
  set_tests_properties(rt_needs_no_compiler PROPERTIES LABELS "unit;runtime")
endif()
