# Fails if libattnc_rt asks for a symbol of LLVM, libyaml, the compiler or the jit, or for
# anything of attnc's that it does not have itself.
execute_process(COMMAND ${NM} -D --undefined-only ${LIB} OUTPUT_VARIABLE wanted
  RESULT_VARIABLE failed)
execute_process(COMMAND ${NM} -D --defined-only ${LIB} OUTPUT_VARIABLE offered)
if(failed)
  message(FATAL_ERROR "nm ${LIB}: ${failed}")
endif()
if(wanted MATCHES "(LLVM[A-Za-z]*|yaml_[a-z_]*|attnc_[a-z_]*|gen_[a-z_]*|spec_[a-z_]*)")
  message(FATAL_ERROR "libattnc_rt wants ${CMAKE_MATCH_1}")
endif()
foreach(name attnc_bundle_open attnc_bundle_plan attnc_bundle_release attnc_launch
    attnc_plan_faults attnc_plan_json attnc_plan_release attnc_plan_retain attnc_plan_slot
    attnc_plan_state_bytes attnc_plan_workspace attnc_plan_zeroed_bytes attnc_status_name
    attnc_status_string attnc_version)
  if(NOT offered MATCHES " T ${name}(@@[A-Za-z0-9_.]+)?\n")
    message(FATAL_ERROR "libattnc_rt does not offer ${name}")
  endif()
endforeach()
if(offered MATCHES " T (attnc_spec[a-z_]*|attnc_compile[a-z_]*|attnc_context[a-z_]*)")
  message(FATAL_ERROR "libattnc_rt offers ${CMAKE_MATCH_1}")
endif()
