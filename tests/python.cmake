# The Python binding, on the emulated device.  Tests that need numpy or torch are skipped,
# visibly, where no interpreter has them: ATTNC_PYTHON names one that does.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
if(NOT ATTNC_PYTHON)
  set(found ${Python3_EXECUTABLE})
  foreach(candidate ${Python3_EXECUTABLE} /usr/bin/python3)
    execute_process(COMMAND ${candidate} -c "import numpy" RESULT_VARIABLE missing
      OUTPUT_QUIET ERROR_QUIET)
    if(missing EQUAL 0)
      set(found ${candidate})
      break()
    endif()
  endforeach()
  set(ATTNC_PYTHON ${found} CACHE FILEPATH "Python of the binding's tests")
endif()

# python_test(NAME [SLOW] [FILE file] [ARGS …]): python/tests/test_FILE.py, exit 77: skipped
function(python_test name)
  cmake_parse_arguments(T "SLOW" "FILE" "ARGS" ${ARGN})
  if(NOT T_FILE)
    set(T_FILE ${name})
  endif()
  add_test(NAME python_${name} COMMAND ${ATTNC_PYTHON}
    ${CMAKE_SOURCE_DIR}/python/tests/test_${T_FILE}.py ${T_ARGS})
  set(labels python)
  if(T_SLOW)
    list(APPEND labels slow)
  endif()
  set_tests_properties(python_${name} PROPERTIES LABELS "${labels}" SKIP_RETURN_CODE 77
    TIMEOUT 900 ENVIRONMENT
    "ATTNC_LIBRARY=$<TARGET_FILE:attnc>;ATTNC_STUB=$<TARGET_FILE:cuda_stub>;PYTHONDONTWRITEBYTECODE=1")
endfunction()

# A sanitized library cannot be loaded by an interpreter that is not.
if(TARGET attnc AND TARGET attnc_llvm AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  foreach(name lib spec plan flash torch wheel docs)
    python_test(${name})
  endforeach()
  python_test(flash_all FILE flash SLOW ARGS --cases 1000 Grid)
endif()
