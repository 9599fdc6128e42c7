/* llvm_module.h: the one door to LLVM: tile programs in, PTX text out.
 *
 * libattnc_llvm.so is opened at the first compile that needs it, so that a cache hit never
 * loads LLVM.  It shares with the compiler the program's data and nothing else: it calls
 * no function of compiler/ and keeps no pointer after it returns.  Thread-safe: every
 * compile has an LLVM context of its own. */
#ifndef ATTNC_COMPILER_LLVM_MODULE_H
#define ATTNC_COMPILER_LLVM_MODULE_H

#include "compiler/tile/tile_prog.h"

enum { LLVM_MODULE_ABI = 3 };

typedef struct LlvmRequest {
  const Program *const *progs; /* of one module, in this order */
  int n;
  const char *ll; /* IR text to start from instead; NULL: none */
  const Target *target;
  int ptx;   /* 70: PTX 7.0 */
  int level; /* code generation, 0 … 3 */
  const char *passes;
  bool keep_ll, keep_opt;
} LlvmRequest;

typedef struct LlvmResult { /* malloc'd by the module */
  char *ptx, *ll, *opt;
  size_t ptx_bytes;
  double lower, passes, codegen; /* seconds */
} LlvmResult;

typedef struct LlvmModule {
  int abi;
  const char *code_id; /* of the sources that both sides were built from: a program's data
                        * has no version of its own */
  const char *version; /* of the LLVM that runs */
  attnc_status (*compile)(const LlvmRequest *, LlvmResult *, attnc_error *);
  void (*release)(LlvmResult *);
} LlvmModule;

ATTNC_API const LlvmModule *attnc_llvm_module(void);

#endif
