# Lints over the sources, and for each the proof that it can fail.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
foreach(name arrows circles order sizes words silent links tables snippets findings
        format slots targets glossary)
  set(script ${CMAKE_CURRENT_SOURCE_DIR}/lint/${name}.py)
  add_test(NAME lint_${name} COMMAND Python3::Interpreter ${script} ${CMAKE_SOURCE_DIR})
  add_test(NAME lint_${name}_can_fail COMMAND Python3::Interpreter ${script} --self-test)
  set_tests_properties(lint_${name} lint_${name}_can_fail PROPERTIES LABELS lint
    SKIP_RETURN_CODE 77
    ENVIRONMENT PYTHONDONTWRITEBYTECODE=1)
endforeach()
