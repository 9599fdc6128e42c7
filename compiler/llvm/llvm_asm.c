/* Inline PTX.  Most of a kernel's instructions are written out: LLVM has intrinsics for
 * nearly all of them, but does not fold their immediates, and one form serves both types.
 */
#include "compiler/llvm/llvm_lower.h"

#include <string.h>

static void
attribute(Lo *lo, V call, const char *name)
{
  unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
  LLVMAttributeRef a = LLVMCreateEnumAttribute(lo->cx, kind, 0);
  LLVMAddCallSiteAttribute(call, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, a);
}

static LLVMTypeRef
result_type(Lo *lo, LLVMTypeRef one, int n)
{
  if (n == 0)
    return lo->none;
  if (n == 1)
    return one;
  LLVMTypeRef *many = NEW_N(lo->arena, LLVMTypeRef, n);
  for (int i = 0; i < n; i++)
    many[i] = one;
  return LLVMStructTypeInContext(lo->cx, many, (unsigned)n, 0);
}

void
asm_call(Lo *lo, AsmKind kind, const char *text, const char *constraints, V *in, int n_in,
         LLVMTypeRef out_type, V *out, int n_out)
{
  LLVMTypeRef *args = NEW_N(lo->arena, LLVMTypeRef, n_in + 1);
  const char *full = constraints;
  for (int i = 0; i < n_in; i++)
    args[i] = LLVMTypeOf(in[i]);
  if (kind == ASM_MEMORY)
    full = arena_printf(lo->arena, "%s%s~{memory}", constraints, constraints[0] ? "," : "");
  LLVMTypeRef type =
      LLVMFunctionType(result_type(lo, out_type, n_out), args, (unsigned)n_in, 0);
  V fn = LLVMGetInlineAsm(type, text, strlen(text), full, strlen(full), kind != ASM_PURE, 0,
                          LLVMInlineAsmDialectATT, 0);
  V call = LLVMBuildCall2(lo->b, type, fn, in, (unsigned)n_in, "");
  attribute(lo, call, "nounwind");
  attribute(lo, call, "convergent");
  if (n_out == 1)
    out[0] = call;
  for (int i = 0; n_out > 1 && i < n_out; i++)
    out[i] = LLVMBuildExtractValue(lo->b, call, (unsigned)i, "");
}

V
asm_1(Lo *lo, AsmKind kind, const char *text, const char *constraints, LLVMTypeRef type,
      V *in, int n_in)
{
  V out;
  asm_call(lo, kind, text, constraints, in, n_in, type, &out, 1);
  return out;
}

void
asm_registers(Str *s, int from, int n)
{
  str_put(s, "{");
  for (int i = 0; i < n; i++)
    str_printf(s, i ? ",$%d" : "$%d", from + i);
  str_put(s, "}");
}

void
asm_constraint(Str *s, const char *what, int n)
{
  for (int i = 0; i < n; i++)
    str_printf(s, "%s%s", s->n ? "," : "", what);
}
