# attnc_embed_pack(TARGET PACK NAME): the pack becomes a part of the program or library TARGET.
# Its sources include NAME.h, which declares `const unsigned char NAME[]` and
# `const size_t NAME_bytes`, for attnc_bundle_open_memory.  ELF and gcc or clang.
function(attnc_embed_pack target pack name)
  get_filename_component(pack "${pack}" ABSOLUTE)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/attnc_packs)
  file(CONFIGURE OUTPUT ${folder}/${name}.h CONTENT "#pragma once
#include <stddef.h>
#ifdef __cplusplus
extern \"C\" {
#endif
extern const unsigned char ${name}[] __attribute__((visibility(\"hidden\")));
extern const size_t ${name}_bytes __attribute__((visibility(\"hidden\")));
#ifdef __cplusplus
}
#endif
")
  file(CONFIGURE OUTPUT ${folder}/${name}.c CONTENT "#include \"${name}.h\"
__asm__(\".pushsection .rodata\\n.balign 64\\n\"
        \".globl ${name}\\n.hidden ${name}\\n.type ${name}, %object\\n${name}:\\n\"
        \".incbin \\\"${pack}\\\"\\n.L${name}_end:\\n.size ${name}, . - ${name}\\n.balign 8\\n\"
        \".globl ${name}_bytes\\n.hidden ${name}_bytes\\n.type ${name}_bytes, %object\\n\"
        \"${name}_bytes:\\n.quad .L${name}_end - ${name}\\n.size ${name}_bytes, 8\\n.popsection\\n\");
")
  set_source_files_properties(${folder}/${name}.c PROPERTIES OBJECT_DEPENDS ${pack})
  target_sources(${target} PRIVATE ${folder}/${name}.c)
  target_include_directories(${target} PRIVATE ${folder})
endfunction()
