# Writes gen/code_id.h: ATTNC_CODE_ID, a hash over FILES, and the LLVM version that libattnc is
# built with.
set(text "")
foreach(f ${FILES})
  file(SHA256 ${f} h)
  file(RELATIVE_PATH r ${SOURCE} ${f})
  string(APPEND text "${r} ${h}\n")
endforeach()
string(SHA256 id "${text}")
file(CONFIGURE OUTPUT ${OUT} CONTENT "#define ATTNC_CODE_ID \"${id}\"\n#define ATTNC_LLVM_VERSION \"${LLVM}\"\n")
