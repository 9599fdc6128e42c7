# What bench/ makes of its results; and the committed page, which is what its results say.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
add_test(NAME bench_report COMMAND Python3::Interpreter
  ${CMAKE_CURRENT_SOURCE_DIR}/bench/report_test.py)
set_tests_properties(bench_report PROPERTIES LABELS lint ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
