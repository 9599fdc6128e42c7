# End to end: what judges the whole house.  Each program names the targets that it opens or
# links and is there when they are.
set(e2e_harness signature append seqlens lists pages random tensors)
list(TRANSFORM e2e_harness PREPEND ${CMAKE_SOURCE_DIR}/harness/)
list(TRANSFORM e2e_harness APPEND .c)
add_library(e2e_tools STATIC EXCLUDE_FROM_ALL e2e/device.c e2e/number.c e2e/case.c e2e/facts.c
  e2e/call.c e2e/drawn.c e2e/mutant.c oracle.c ${CMAKE_SOURCE_DIR}/cli/problem.c ${e2e_harness}
  $<TARGET_OBJECTS:o_base>)
target_compile_definitions(e2e_tools PUBLIC SOURCE_DIR="${CMAKE_SOURCE_DIR}"
  BUILD_DIR="${CMAKE_BINARY_DIR}")
target_link_libraries(e2e_tools PUBLIC m ${CMAKE_DL_LIBS})

# e2e_program(NAME [NEEDS target…] [MORE source…]): tests/e2e/NAME.c
function(e2e_program name)
  cmake_parse_arguments(P "" "" "NEEDS;MORE" ${ARGN})
  foreach(need ${P_NEEDS})
    if(NOT TARGET ${need})
      return()
    endif()
  endforeach()
  add_executable(e2e_${name} e2e/${name}.c ${P_MORE})
  target_link_libraries(e2e_${name} PRIVATE e2e_tools PkgConfig::CMOCKA PkgConfig::JANSSON)
  if("attnc" IN_LIST P_NEEDS)
    target_link_libraries(e2e_${name} PRIVATE attnc)
  endif()
  if(P_NEEDS)
    add_dependencies(e2e_${name} ${P_NEEDS})
  endif()
endfunction()

# e2e_test(NAME PROGRAM [SLOW] [PROCESSORS n] [ARGS …])
function(e2e_test name program)
  cmake_parse_arguments(T "SLOW" "PROCESSORS" "ARGS" ${ARGN})
  if(NOT TARGET e2e_${program})
    return()
  endif()
  add_test(NAME ${name} COMMAND e2e_${program} ${T_ARGS})
  set(labels e2e)
  if(T_SLOW)
    list(APPEND labels slow)
  endif()
  set_tests_properties(${name} PROPERTIES LABELS "${labels}" SKIP_RETURN_CODE 77 TIMEOUT 1500)
  if(T_PROCESSORS)
    set_tests_properties(${name} PROPERTIES PROCESSORS ${T_PROCESSORS} COST 100)
  endif()
endfunction()

e2e_program(parts NEEDS attnc)
e2e_test(e2e_parts parts)
e2e_program(pairs NEEDS attnc MORE e2e/legal.c)
e2e_test(e2e_pairs pairs ARGS --check ${CMAKE_CURRENT_SOURCE_DIR}/e2e/cases.txt)
e2e_test(e2e_pairs_legal pairs SLOW ARGS --legal ${CMAKE_CURRENT_SOURCE_DIR}/e2e/cases.txt)
e2e_test(e2e_pairs_turing pairs ARGS --check ${CMAKE_CURRENT_SOURCE_DIR}/e2e/turing.txt
  "dtype: fp16" sm_75 template=fwd_mma)
# Which commands of a list have no plan: reads them as the program does.
if(TARGET attnc)
  set(refused_cli options load schedule device out problem)
  list(TRANSFORM refused_cli PREPEND ${CMAKE_SOURCE_DIR}/cli/)
  list(TRANSFORM refused_cli APPEND .c)
  add_executable(e2e_refused e2e/refused.c ${refused_cli} $<TARGET_OBJECTS:o_harness>
    $<TARGET_OBJECTS:o_base>)
  target_link_libraries(e2e_refused PRIVATE attnc attnc_plain)
endif()
e2e_program(bare NEEDS attnc_emu)
e2e_test(e2e_bare bare)
e2e_program(captured NEEDS attnc attnc_llvm attnc_emu MORE e2e/run.c)
e2e_test(e2e_captured captured ARGS sm_80)
e2e_test(e2e_captured_hopper captured ARGS sm_90a)
e2e_program(splits NEEDS attnc attnc_llvm attnc_emu MORE e2e/run.c)
e2e_test(e2e_splits splits ARGS sm_80 6)
e2e_test(e2e_splits_all splits SLOW ARGS sm_80 100)
e2e_test(e2e_splits_turing splits SLOW ARGS sm_75 100)
e2e_test(e2e_splits_hopper splits SLOW ARGS sm_90a 100 decode_wgmma)
e2e_test(e2e_splits_step splits SLOW ARGS sm_80 20 decode_mma step)
e2e_test(e2e_splits_step_hopper splits SLOW ARGS sm_90a 20 decode_wgmma step)
e2e_program(dealt NEEDS attnc attnc_llvm attnc_emu MORE e2e/run.c)
e2e_test(e2e_dealt dealt ARGS 5)
e2e_test(e2e_dealt_all dealt SLOW ARGS 100)

# The whole house on the emulator.
e2e_program(matrix NEEDS attnc attnc_llvm attnc_emu MORE e2e/run.c)
if(TARGET e2e_matrix)
  rotating(e2e_matrix 32 COMMAND $<TARGET_FILE:e2e_matrix> --shard {shard} LABELS e2e
    PROPERTIES PROCESSORS 2 COST 100)
endif()
# All pairs again of fwd_mma on sm_75, which copies and multiplies in its own way.
if(TARGET e2e_matrix)
  rotating(e2e_turing 17 COMMAND $<TARGET_FILE:e2e_matrix> --shard {shard} --cases
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/turing.txt LABELS e2e PROPERTIES PROCESSORS 2)
endif()
# More batches or heads than a grid has along y or z.
set(e2e_tiny "{dtype: fp16, head_dim: 16, return_lse: true}")
e2e_test(e2e_many_heads matrix SLOW ARGS
  "${e2e_tiny} b65537 h1 s1 template=fwd_mma,block_m=32,block_n=32,num_stages=1,num_warps=2"
  "${e2e_tiny} b1 h65537 s1 template=ref_fwd"
  "${e2e_tiny} b1 h92684/46342 s1 sm_90a template=fwd_wgmma,block_m=64,block_n=16,num_stages=1")
# Two sections of heads, of which the first has one less.
set(e2e_seen "causal: true, align: top_left, return_lse: true")
e2e_test(e2e_sections matrix SLOW ARGS
  "{dtype: bf16, head_dim: 64, ${e2e_seen}} b1 h7 sq70 sk40000 sm_80 template=fwd_mma,block_m=32,block_n=32,num_warps=2,num_stages=2"
  "{dtype: fp16, head_dim: 256, ${e2e_seen}, score_mod: \"score * 0.5 - 0.125 * f32(h + 2 * b)\"} b3 h5/1 sq50 sk16000 sm_90 template=fwd_mma,block_m=32,block_n=32,num_warps=2,num_stages=1 seed=2")
# O on its way out through stages that are lent, by CTAs with a second block.
set(e2e_lent "b17 h8/2 sq65 sk100 sm_90a template=fwd_wgmma")
set(e2e_lent_much "b9 h16/4 sq200 sk200 sm_90a template=fwd_wgmma")
e2e_test(e2e_lent matrix ARGS
  "{dtype: bf16, head_dim: 16, causal: true, return_lse: true} ${e2e_lent},block_m=128,block_n=64,num_stages=2,scheduler=persistent,q_stages=1,o_in_v=true"
  "{dtype: fp16, head_dim: 16} ${e2e_lent},block_m=128,block_n=128,num_stages=1,scheduler=dynamic,q_stages=2,o_in_v=true seed=2"
  "{dtype: bf16, head_dim: 16} ${e2e_lent},block_m=64,block_n=80,num_stages=2,scheduler=persistent,q_stages=1,cluster=2,o_in_v=true seed=3")
e2e_test(e2e_lent_all matrix SLOW ARGS
  "{dtype: bf16, head_dim: 64, causal: true} ${e2e_lent_much},block_m=128,block_n=64,num_stages=2,scheduler=dynamic,q_stages=1,o_in_v=true"
  "{dtype: bf16, head_dim: 16, causal: true} ${e2e_lent_much},block_m=192,block_n=128,num_stages=3,scheduler=persistent,o_in_v=true seed=2"
  "{dtype: bf16, head_dim: 16, window: [60, 0]} ${e2e_lent_much},block_m=64,block_n=64,num_stages=1,scheduler=persistent,intra_wg_overlap=false,o_in_v=true seed=3"
  "{dtype: bf16, head_dim: 64} ${e2e_lent_much},block_m=128,block_n=80,num_stages=2,scheduler=persistent,q_stages=1,cluster=2,o_in_v=true seed=4")
# Each launch under 20 orders of CTAs: the same bits.
e2e_test(e2e_orders matrix ARGS
  "{dtype: bf16, head_dim: 32, causal: true} b1 h2 sq200 sk200 sm_80 template=fwd_mma"
  "{dtype: bf16, head_dim: 64, causal: true} b1 h2 sq300 sk300 sm_90a template=fwd_wgmma,scheduler=grid"
  "{dtype: bf16, head_dim: 64, causal: true} b1 h2 sq300 sk300 sm_90a template=fwd_wgmma,scheduler=dynamic seed=4"
  "{dtype: bf16, head_dim: 64, group_size: 2, return_lse: true} b1 h2/1 sq3 sk400 sm_80 template=decode_mma,split_keys=64,block_n=64")
if(TEST e2e_orders)
  set_tests_properties(e2e_orders PROPERTIES ENVIRONMENT "ATTNC_EMU=orders=20")
endif()
e2e_program(fault_injection NEEDS attnc attnc_llvm attnc_emu MORE e2e/run.c)
e2e_test(e2e_fault_injection fault_injection)
e2e_program(mutants NEEDS attnc attnc_llvm attnc_emu MORE e2e/run.c)
e2e_test(e2e_mutants mutants PROCESSORS 2)
e2e_test(e2e_mutants_all mutants SLOW PROCESSORS 2 ARGS --all)
e2e_program(causal NEEDS attnc attnc_llvm attnc_emu MORE e2e/run.c)
e2e_test(e2e_causal causal)
e2e_test(e2e_causal_all causal SLOW ARGS --all)

# What the compiler says, without a device.
e2e_program(golden NEEDS attnc attnc_llvm MORE golden.c $<TARGET_OBJECTS:o_base>)
e2e_test(e2e_golden golden)
# Recipes that somebody changed, loaded and launched.
e2e_program(recipes NEEDS attnc attnc_llvm attnc_emu MORE $<TARGET_OBJECTS:o_base>)
e2e_test(e2e_recipes recipes ARGS 100)
e2e_test(e2e_recipes_all recipes SLOW PROCESSORS 2 ARGS 2400 20261129)
# C that is written from a recipe, beside attnc_launch.
set(e2e_emit ${CMAKE_SOURCE_DIR}/emit/emit_c.c ${CMAKE_SOURCE_DIR}/emit/emit_c_launch.c
  ${CMAKE_SOURCE_DIR}/emit/emit_c_rules.c ${CMAKE_SOURCE_DIR}/emit/emit_c_steps.c)
e2e_program(emitted NEEDS attnc attnc_llvm attnc_emu rules_text MORE $<TARGET_OBJECTS:o_base>
  ${e2e_emit})
e2e_test(e2e_emitted emitted ARGS ${CMAKE_C_COMPILER})
# Calls with more than q, k, v and o, through it and through a bundle.
e2e_program(emitted_calls NEEDS attnc attnc_llvm attnc_emu rules_text MORE
  $<TARGET_OBJECTS:o_base> $<TARGET_OBJECTS:o_harness> ${e2e_emit})
e2e_test(e2e_emitted_calls emitted_calls ARGS ${CMAKE_C_COMPILER})
e2e_program(gate NEEDS attnc attnc_llvm MORE e2e/gate_spec.c e2e/gate_job.c e2e/gate_pool.c
  e2e/gate_base.c ${CMAKE_SOURCE_DIR}/cli/schedule.c $<TARGET_OBJECTS:o_base>)
if(TARGET e2e_gate)
  target_link_libraries(e2e_gate PRIVATE sass)
endif()
add_executable(test_gate e2e/gate_test.c e2e/gate_base.c)
target_compile_definitions(test_gate PRIVATE SOURCE_DIR="${CMAKE_BINARY_DIR}/gate-test")
target_link_libraries(test_gate PRIVATE PkgConfig::CMOCKA)
add_test(NAME gate_can_fail COMMAND test_gate)
set_tests_properties(gate_can_fail PROPERTIES LABELS unit)
if(TARGET e2e_gate AND NOT ATTNC_SANITIZE)
  rotating(e2e_gate 30 COMMAND $<TARGET_FILE:e2e_gate> --specs {shard} LABELS e2e
    PROPERTIES PROCESSORS 2 COST 100)
  rotating(e2e_gate_dims 90 COMMAND $<TARGET_FILE:e2e_gate> --dims {shard} LABELS e2e
    PROPERTIES PROCESSORS 2)
  rotating(e2e_gate_decode 150 COMMAND $<TARGET_FILE:e2e_gate> --decode {shard} LABELS e2e
    PROPERTIES PROCESSORS 2)
endif()

# The tables and pictures of docs/masks.md against what is found now.
if(TARGET attnc_cli AND NOT ATTNC_SANITIZE)
  rotating(docs_masks 20 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_SOURCE_DIR}/scripts/mask-tables --check {shard} LABELS e2e
    PROPERTIES ENVIRONMENT "ATTNC=$<TARGET_FILE:attnc_cli>")
  add_test(NAME mask_tables COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/mask_tables_test.py)
  set_tests_properties(mask_tables PROPERTIES LABELS e2e
    ENVIRONMENT "ATTNC=$<TARGET_FILE:attnc_cli>")
endif()
# The tables of docs/hopper.md: what makes them, and the page against what is made now.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
add_test(NAME hopper_tables
  COMMAND Python3::Interpreter -B ${CMAKE_CURRENT_SOURCE_DIR}/hopper_tables_test.py)
set_tests_properties(hopper_tables PROPERTIES LABELS e2e)
if(TARGET attnc_cli AND NOT ATTNC_SANITIZE AND EXISTS ${CMAKE_SOURCE_DIR}/docs/hopper.md)
  rotating(docs_hopper 10 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_SOURCE_DIR}/scripts/hopper-tables --check {shard} LABELS e2e
    PROPERTIES PROCESSORS 2 ENVIRONMENT "ATTNC=$<TARGET_FILE:attnc_cli>")
endif()

# The emulator's speed, all checks on.
if(TARGET attnc AND TARGET attnc_emu)
  add_executable(bench_emu ${CMAKE_SOURCE_DIR}/bench/emu.c)
  target_link_libraries(bench_emu PRIVATE attnc ${CMAKE_DL_LIBS})
  add_dependencies(bench_emu attnc_llvm attnc_emu)
  add_test(NAME bench_emu COMMAND bench_emu --limit 25 $<TARGET_FILE:attnc_emu>)
  set_tests_properties(bench_emu PROPERTIES LABELS "e2e;slow" RUN_SERIAL ON)
endif()

# fwd_wgmma's schedules, and what orders it, statement by statement.
if(TARGET attnc_cli AND TARGET attnc_emu AND TARGET attnc_llvm AND NOT ATTNC_SANITIZE)
  function(e2e_script name n script)
    rotating(${name} ${n} COMMAND ${Python3_EXECUTABLE} -B
      ${CMAKE_CURRENT_SOURCE_DIR}/e2e/${script} $<TARGET_FILE:attnc_cli> ${ARGN} --shard {shard}
      LABELS e2e PROPERTIES PROCESSORS 2 COST 90)
  endfunction()
  e2e_script(e2e_hopper 50 hopper.py)
  e2e_script(e2e_hopper_mutants 48 hopper_mutants.py
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/hopper_mutants.txt)
  e2e_script(e2e_bwd_mutants 260 bwd_mutants.py
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/bwd_mutants.txt)
  add_test(NAME e2e_bwd_orders COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/bwd_orders.py $<TARGET_FILE:attnc_cli>)
  set_tests_properties(e2e_bwd_orders PROPERTIES LABELS e2e)
  set(bwd_count ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/bwd_count.py)
  rotating(e2e_bwd_count 11 COMMAND ${bwd_count} $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  add_test(NAME e2e_bwd_count_can_fail COMMAND ${bwd_count} - --self-test)
  set_tests_properties(e2e_bwd_count_can_fail PROPERTIES LABELS e2e)
  set(bwd_gate ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/bwd_gate.py)
  rotating(e2e_bwd_gate 128 COMMAND ${bwd_gate} $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS "e2e;ptxas" PROPERTIES SKIP_RETURN_CODE 77)
  add_test(NAME e2e_bwd_gate_can_fail COMMAND ${bwd_gate} - --self-test)
  set_tests_properties(e2e_bwd_gate_can_fail PROPERTIES LABELS e2e)
  rotating(e2e_walks 28 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/walks.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  rotating(e2e_fields 16 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/fields.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  rotating(e2e_plain 100 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/plain.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  add_test(NAME e2e_lists_can_fail COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/factors_test.py $<TARGET_FILE:attnc_cli>)
  set_tests_properties(e2e_lists_can_fail PROPERTIES LABELS e2e)
  rotating(e2e_seqlens 20 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/seqlens.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  set(sectors ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/sectors.py)
  rotating(e2e_sectors 10 COMMAND ${sectors} $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  add_test(NAME e2e_sectors_can_fail COMMAND ${sectors} - --self-test)
  set_tests_properties(e2e_sectors_can_fail PROPERTIES LABELS e2e)
  set(packed ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/packed.py)
  rotating(e2e_packed 30 COMMAND ${packed} $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS "e2e;ptxas"
    PROPERTIES SKIP_RETURN_CODE 77)
  add_test(NAME e2e_packed_can_fail COMMAND ${packed} - --self-test)
  set_tests_properties(e2e_packed_can_fail PROPERTIES LABELS e2e)
  rotating(e2e_decode 80 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/decode.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  rotating(e2e_decode_clocks 60 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/decode_clocks.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  add_test(NAME e2e_semaphores COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/semaphores.py $<TARGET_FILE:attnc_cli>)
  set_tests_properties(e2e_semaphores PROPERTIES LABELS e2e)
  set(run_ahead ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/run_ahead.py
    $<TARGET_FILE:attnc_cli>)
  add_test(NAME e2e_run_ahead COMMAND ${run_ahead})
  add_test(NAME e2e_run_ahead_all COMMAND ${run_ahead} --all)
  set_tests_properties(e2e_run_ahead PROPERTIES LABELS e2e)
  set_tests_properties(e2e_run_ahead_all PROPERTIES LABELS "e2e;slow")
  rotating(e2e_decode_wgmma 80 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/decode.py $<TARGET_FILE:attnc_cli> --template decode_wgmma
    --cases 400 --shard {shard} LABELS e2e)
  foreach(template mixed mixed_wgmma)
    rotating(e2e_${template} 120 COMMAND ${Python3_EXECUTABLE} -B
      ${CMAKE_CURRENT_SOURCE_DIR}/e2e/decode.py $<TARGET_FILE:attnc_cli> --template ${template}
      --cases 360 --shard {shard} LABELS e2e)
  endforeach()
  foreach(op append merge fwd prefix)
    set(name e2e_${op})
    if(op STREQUAL fwd)
      set(name e2e_append_fwd)
    endif()
    rotating(${name} 30 COMMAND ${Python3_EXECUTABLE} -B
      ${CMAKE_CURRENT_SOURCE_DIR}/e2e/append.py $<TARGET_FILE:attnc_cli> --op ${op}
      --shard {shard} LABELS e2e)
  endforeach()
  rotating(e2e_bwd 100 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/bwd.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  rotating(e2e_o_lo 10 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/o_lo.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  set(deterministic ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/deterministic.py)
  rotating(e2e_deterministic 28 COMMAND ${deterministic} $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  add_test(NAME e2e_deterministic_can_fail COMMAND ${deterministic} $<TARGET_FILE:attnc_cli> --self-test)
  set_tests_properties(e2e_deterministic_can_fail PROPERTIES LABELS e2e)
  set(dropout ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/dropout.py)
  rotating(e2e_dropout 84 COMMAND ${dropout} $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  add_test(NAME e2e_dropout_bits COMMAND ${dropout} $<TARGET_FILE:attnc_cli> --bits)
  add_test(NAME e2e_dropout_mutants COMMAND ${dropout} $<TARGET_FILE:attnc_cli> --mutants)
  set_tests_properties(e2e_dropout_bits e2e_dropout_mutants PROPERTIES LABELS "e2e;slow")
  set(prefix_products ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/prefix_products.py)
  add_test(NAME e2e_prefix_products COMMAND ${prefix_products} $<TARGET_FILE:attnc_cli>)
  set_tests_properties(e2e_prefix_products PROPERTIES LABELS "e2e;slow")
  add_test(NAME e2e_prefix_products_can_fail COMMAND ${prefix_products} - --self-test)
  set_tests_properties(e2e_prefix_products_can_fail PROPERTIES LABELS e2e)
  add_test(NAME e2e_prefix_bytes COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/prefix_bytes.py $<TARGET_FILE:attnc_cli>)
  set_tests_properties(e2e_prefix_bytes PROPERTIES LABELS e2e)
  rotating(e2e_pages 48 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/pages.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  add_test(NAME e2e_pages_hazards COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/pages.py $<TARGET_FILE:attnc_cli> --hazards)
  set_tests_properties(e2e_pages_hazards PROPERTIES LABELS e2e)
  rotating(e2e_blocks 20 COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/blocks.py $<TARGET_FILE:attnc_cli> --shard {shard}
    LABELS e2e)
  rotating(e2e_mods 12 COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/mods.py
    $<TARGET_FILE:attnc_cli> --shard {shard} LABELS e2e)
  add_test(NAME e2e_hazards COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/hazards.py $<TARGET_FILE:attnc_cli>)
  set_tests_properties(e2e_hazards PROPERTIES LABELS e2e COST 60)
  add_test(NAME e2e_extremes COMMAND ${Python3_EXECUTABLE} -B
    ${CMAKE_CURRENT_SOURCE_DIR}/e2e/extremes.py $<TARGET_FILE:attnc_cli>)
  set_tests_properties(e2e_extremes PROPERTIES LABELS e2e)
endif()
