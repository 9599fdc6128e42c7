# What `cmake --install` gives to others: programs that are built with it, pages, the package.
if(TARGET attnc_cli AND TARGET attnc_llvm AND NOT ATTNC_SANITIZE AND NOT ATTNC_TSAN AND ATTNC_INSTALL)
  set(command ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/install/install_test.py
    ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  add_test(NAME install COMMAND ${command})
  add_test(NAME install_all COMMAND ${command} --all)
  set_tests_properties(install PROPERTIES LABELS cli TIMEOUT 300)
  set_tests_properties(install_all PROPERTIES LABELS "cli;slow" TIMEOUT 2400 PROCESSORS 2)
endif()

add_test(NAME fresh_root COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/install/fresh_root.sh
  ${CMAKE_SOURCE_DIR})
set_tests_properties(fresh_root PROPERTIES LABELS "cli;slow" SKIP_RETURN_CODE 77 TIMEOUT 7200
  PROCESSORS 2)

if(NM AND TARGET attnc AND NOT ATTNC_SANITIZE AND NOT ATTNC_TSAN)
  add_test(NAME abi COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/abi_test.py
    ${CMAKE_SOURCE_DIR} ${NM} $<TARGET_FILE:attnc> $<TARGET_FILE:attnc_rt>)
  set_tests_properties(abi PROPERTIES LABELS runtime)
endif()

# The same since the last release, of which tests/abi.xml and abi.txt are.
set(abi ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/abi_baseline_test.py)
add_test(NAME abi_baseline COMMAND ${abi} ${CMAKE_SOURCE_DIR})
add_test(NAME abi_baseline_can_fail COMMAND ${abi} --self-test ${CMAKE_SOURCE_DIR})
set_tests_properties(abi_baseline abi_baseline_can_fail PROPERTIES SKIP_RETURN_CODE 77
  LABELS runtime)
