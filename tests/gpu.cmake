# The GPU suite (bench/gpu) without a GPU: its parts, and one dry run with tiny sizes, the emulator
# in libcuda's place (gpu_emulated_driver); slow, a second one that knows of the emulator.  A sanitized
# library cannot be loaded by an interpreter that is not.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
set(gpu ${CMAKE_SOURCE_DIR}/bench/gpu)

# gpu_test(NAME python): bench/gpu/tests/test_NAME.py, exit 77: skipped
function(gpu_test name python)
  add_test(NAME gpu_${name} COMMAND ${python} ${gpu}/tests/test_${name}.py)
  set_tests_properties(gpu_${name} PROPERTIES LABELS bench SKIP_RETURN_CODE 77 TIMEOUT 600
    ENVIRONMENT "ATTNC_LIBRARY=$<TARGET_FILE:attnc>;PYTHONDONTWRITEBYTECODE=1")
endfunction()

if(TARGET attnc_cli AND TARGET attnc_llvm AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  gpu_test(suite ${Python3_EXECUTABLE})
  gpu_test(emulated_driver ${Python3_EXECUTABLE})
  gpu_test(fields ${Python3_EXECUTABLE})
  gpu_test(calibrate ${Python3_EXECUTABLE}) # assembles with ptxas where there is one
  gpu_test(first ${Python3_EXECUTABLE})
  gpu_test(pack ${Python3_EXECUTABLE})
  # All phases of `first` as on a GPU: by its own table, and with the emulator in libcuda's place.
  gpu_test(first_dry ${Python3_EXECUTABLE})
  set_tests_properties(gpu_first_dry PROPERTIES LABELS "bench;slow")
  if(ATTNC_PYTHON) # one that may have torch and Triton
    gpu_test(torch ${ATTNC_PYTHON})
  endif()

  set(result ${CMAKE_CURRENT_BINARY_DIR}/gpu/tiny.json)
  add_test(NAME gpu_tiny COMMAND ${Python3_EXECUTABLE} ${gpu}/run --device emu --tiny
    --attnc ${CMAKE_BINARY_DIR} --out ${result})
  add_test(NAME gpu_tiny_report COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/bench/report
    ${result})
  # Of a tiny run's fields: the default, a value that is as right, one that is refused.
  add_test(NAME gpu_tiny_fields COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/bench/report
    ${result})
  set_tests_properties(gpu_tiny gpu_tiny_report gpu_tiny_fields PROPERTIES LABELS "bench;slow"
    TIMEOUT 300 ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
  set_tests_properties(gpu_tiny PROPERTIES FIXTURES_SETUP gpu_tiny_result PASS_REGULAR_EXPRESSION
    "checks passed, 0 failed; [0-9]+ measurements")
  set_tests_properties(gpu_tiny_report PROPERTIES FIXTURES_REQUIRED gpu_tiny_result
    PASS_REGULAR_EXPRESSION "less by")
  set_tests_properties(gpu_tiny_fields PROPERTIES FIXTURES_REQUIRED gpu_tiny_result
    PASS_REGULAR_EXPRESSION "default, est_cycles.*intra_wg_overlap=false .* of 1 .*pack_gqa=true . refused")
endif()
