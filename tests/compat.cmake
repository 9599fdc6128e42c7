# Clients and libraries of different versions; builds a second library.
if(TARGET attnc AND TARGET attnc_llvm AND TARGET attnc_emu AND NOT ATTNC_SANITIZE)
  add_test(NAME compat COMMAND Python3::Interpreter
    ${CMAKE_CURRENT_SOURCE_DIR}/compat/compat_test.py ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  set_tests_properties(compat PROPERTIES LABELS "runtime;slow" TIMEOUT 2400 PROCESSORS 2
    ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endif()
