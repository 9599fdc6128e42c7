/* Which compiler makes the kernels: what keys and recipes say of it. */
#include "compiler/gen.h"

#include "code_id.h"

const char *const gen_code_id = ATTNC_CODE_ID;
const char *const gen_llvm_version = ATTNC_LLVM_VERSION;
