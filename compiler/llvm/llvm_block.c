/* Basic blocks, and what is said of the branches between them. */
#include "compiler/llvm/llvm_lower.h"

#include <llvm-c/DebugInfo.h>

LLVMBasicBlockRef
new_block(Lo *lo, const char *name)
{
  return LLVMAppendBasicBlockInContext(lo->cx, lo->fn, name);
}

V
phi_of(Lo *lo, LLVMTypeRef type, V from, LLVMBasicBlockRef block)
{
  V phi = LLVMBuildPhi(lo->b, type, "");
  LLVMAddIncoming(phi, &from, &block, 1);
  return phi;
}

V
as_bit(Lo *lo, V c)
{
  if (LLVMTypeOf(c) == lo->i1)
    return c;
  return LLVMBuildICmp(lo->b, LLVMIntNE, c, LLVMConstNull(LLVMTypeOf(c)), "");
}

void
no_unrolling(Lo *lo, V branch)
{
  LLVMMetadataRef text = LLVMMDStringInContext2(lo->cx, "llvm.loop.unroll.disable", 24);
  LLVMMetadataRef disable = LLVMMDNodeInContext2(lo->cx, &text, 1);
  LLVMMetadataRef temp = LLVMTemporaryMDNode(lo->cx, NULL, 0);
  LLVMMetadataRef both[2] = {temp, disable};
  LLVMMetadataRef loop = LLVMMDNodeInContext2(lo->cx, both, 2);
  LLVMMetadataReplaceAllUsesWith(temp, loop); /* the node is its own first operand */
  unsigned kind = LLVMGetMDKindIDInContext(lo->cx, "llvm.loop", 9);
  LLVMSetMetadata(branch, kind, LLVMMetadataAsValue(lo->cx, loop));
}

/* What LLVM is told of how often a branch is taken. */
void
hardly_ever(Lo *lo, V branch)
{
  LLVMMetadataRef weights[3] = {LLVMMDStringInContext2(lo->cx, "branch_weights", 14),
                                LLVMValueAsMetadata(k32(lo, 1)),
                                LLVMValueAsMetadata(k32(lo, 1 << 20))};
  LLVMMetadataRef node = LLVMMDNodeInContext2(lo->cx, weights, 3);
  unsigned kind = LLVMGetMDKindIDInContext(lo->cx, "prof", 4);
  LLVMSetMetadata(branch, kind, LLVMMetadataAsValue(lo->cx, node));
}
