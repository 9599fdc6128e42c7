/* A libattnc_llvm.so of which $MODULE_IS says what is not as it should be: code, llvm, abi.
 */
#include "compiler/llvm/llvm_module.h"

#include "code_id.h"

#include <stdlib.h>
#include <string.h>

const LlvmModule *
attnc_llvm_module(void)
{
  static LlvmModule m;
  const char *is = getenv("MODULE_IS");
  m = (LlvmModule){
      .abi = LLVM_MODULE_ABI, .code_id = ATTNC_CODE_ID, .version = ATTNC_LLVM_VERSION};
  if (is && !strcmp(is, "code"))
    m.code_id = "0123456789abcdef";
  if (is && !strcmp(is, "llvm"))
    m.version = "21.1.0";
  if (is && !strcmp(is, "abi"))
    m = (LlvmModule){.abi = LLVM_MODULE_ABI - 1}; /* what follows is of that one */
  return &m;
}
