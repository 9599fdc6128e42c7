/* backend.h: opens libattnc_llvm.so at the first compile that needs it: where $ATTNC_LLVM
 * says, else in attnc/ beside the library that this code is in, else beside it, else where
 * it was to be installed, else by the loader's own search.  A module of another build, or
 * of another LLVM version, is refused.  Thread-safe; never unloaded. */
#ifndef ATTNC_COMPILER_BACKEND_H
#define ATTNC_COMPILER_BACKEND_H

#include "compiler/llvm/llvm_module.h"

attnc_status backend_open(const LlvmModule **, attnc_error *);
/* Through the gate of base/fork.h: LLVM has locks of its own. */
attnc_status backend_compile(const LlvmModule *, const LlvmRequest *, LlvmResult *,
                             attnc_error *);
/* The path that was opened, NULL before. */
const char *backend_path(void);

#endif
