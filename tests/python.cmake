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

set(python_environment "ATTNC_LIBRARY=$<TARGET_FILE:attnc>;ATTNC_STUB=$<TARGET_FILE:cuda_stub>;PYTHONDONTWRITEBYTECODE=1")
# python_test(NAME [FILE]): python/tests/FILE.py, else test_NAME.py, exit 77: skipped
function(python_test name)
  set(file test_${name})
  if(ARGN)
    set(file ${ARGN})
  endif()
  add_test(NAME python_${name} COMMAND ${ATTNC_PYTHON} ${CMAKE_SOURCE_DIR}/python/tests/${file}.py)
  set_tests_properties(python_${name} PROPERTIES LABELS python SKIP_RETURN_CODE 77
    TIMEOUT 900 ENVIRONMENT "${python_environment}")
endfunction()

# A sanitized library cannot be loaded by an interpreter that is not.
if(TARGET attnc AND TARGET attnc_llvm AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  foreach(name api dropout lib spec expr flex plan seqlens classes pages serving mixed tune wheel walkthroughs docs)
    python_test(${name})
  endforeach()
  python_test(torch_share torch_share)
  python_test(style)
  foreach(name packaging memory mypy torch torch_dropout torch_varlen torch_functions operators huggingface gradients compat
      call_sites xformers vllm dnabert2 ragged hub flex_graph)
    python_test(${name})
    set_tests_properties(python_${name} PROPERTIES LABELS "python;slow")
  endforeach()
  add_test(NAME python_walk_model COMMAND ${ATTNC_PYTHON}
    ${CMAKE_SOURCE_DIR}/python/tests/test_walkthroughs.py --model)
  set_tests_properties(python_walk_model PROPERTIES LABELS "python;slow" SKIP_RETURN_CODE 77
    TIMEOUT 900 ENVIRONMENT "${python_environment}")
  add_test(NAME python_mixed_all COMMAND ${ATTNC_PYTHON}
    ${CMAKE_SOURCE_DIR}/python/tests/test_mixed.py --many)
  set_tests_properties(python_mixed_all PROPERTIES LABELS "python;slow" SKIP_RETURN_CODE 77
    TIMEOUT 900 ENVIRONMENT "${python_environment}")
  rotating(python_flash 100 COMMAND ${ATTNC_PYTHON} ${CMAKE_SOURCE_DIR}/python/tests/test_flash.py
    --cases 1000 --shard {shard} LABELS python)
  set_tests_properties(python_flash python_flash_all PROPERTIES
    ENVIRONMENT "${python_environment}")
endif()

# Keys that a block of rows does not see: needs the binding, and numpy.
if(TARGET attnc AND TARGET attnc_llvm AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  foreach(name e2e_unseen e2e_unseen_all)
    set(cases 12)
    if(name STREQUAL e2e_unseen_all)
      set(cases 150)
    endif()
    add_test(NAME ${name} COMMAND ${ATTNC_PYTHON} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/unseen.py
      --cases ${cases})
    set_tests_properties(${name} PROPERTIES LABELS e2e SKIP_RETURN_CODE 77 TIMEOUT 900
      ENVIRONMENT "${python_environment}")
  endforeach()
  set_tests_properties(e2e_unseen_all PROPERTIES LABELS "e2e;slow")
endif()
