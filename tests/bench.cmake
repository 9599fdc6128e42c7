# What bench/ makes of its results; and the committed page, which is what its results say.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
add_test(NAME bench_report COMMAND Python3::Interpreter
  ${CMAKE_CURRENT_SOURCE_DIR}/bench/report_test.py)
set_tests_properties(bench_report PROPERTIES LABELS lint ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)

# What calls cost the host: a program for callgrind, and its rows.
set(host_cost ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/bench/host_cost_test.py)
add_test(NAME host_cost_can_fail COMMAND ${host_cost} --self-test)
set_tests_properties(host_cost_can_fail PROPERTIES LABELS bench)
set(compile_cost ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/bench/compile_cost_test.py)
add_test(NAME compile_cost_can_fail COMMAND ${compile_cost} --self-test)
set_tests_properties(compile_cost_can_fail PROPERTIES LABELS bench)
if(TARGET attnc_cli AND CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT ATTNC_SANITIZE AND NOT ATTNC_TSAN)
  add_test(NAME compile_cost COMMAND ${compile_cost} $<TARGET_FILE:attnc_cli>)
  set_tests_properties(compile_cost PROPERTIES SKIP_RETURN_CODE 77 LABELS "bench;slow" TIMEOUT 1200)
endif()
if(TARGET attnc AND TARGET attnc_llvm AND CMAKE_BUILD_TYPE STREQUAL "Release"
    AND CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT ATTNC_SANITIZE AND NOT ATTNC_TSAN)
  add_executable(host_cost bench/host_cost.c $<TARGET_OBJECTS:o_base>)
  target_link_libraries(host_cost PRIVATE attnc attnc_rt plain)
  add_dependencies(host_cost attnc_llvm cuda_stub)
  target_compile_definitions(host_cost PRIVATE STUB_LIBCUDA="$<TARGET_FILE:cuda_stub>")
  add_test(NAME host_cost COMMAND ${host_cost} $<TARGET_FILE:host_cost>
    ${CMAKE_CURRENT_SOURCE_DIR}/host_cost.txt)
  set_tests_properties(host_cost PROPERTIES SKIP_RETURN_CODE 77 LABELS "bench;slow" TIMEOUT 600)
endif()
