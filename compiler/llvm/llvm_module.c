/* The LLVM module's one function: lower, verify, passes, PTX.
 *
 * LLVM reports some failures only to a diagnostic handler and then returns success with
 * broken text; others end the process through its fatal error handler.  Both are caught
 * here and become a status.  After a fatal error LLVM's objects of that compile are leaked
 * on purpose: their state is unknown. */
#include "compiler/llvm/llvm_lower.h"

#include "base/clock.h"
#include "base/err.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/ErrorHandling.h>
#include <llvm-c/IRReader.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "code_id.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Job {
  const LlvmRequest *req;
  LlvmResult *res;
  attnc_error *err;
  Arena *arena;
  Lo *lo;
  LLVMTargetMachineRef tm;
  char diag[400]; /* first error-severity diagnostic */
} Job;

static _Thread_local jmp_buf *fatal_jump;
static _Thread_local char fatal_text[400];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
on_fatal(const char *reason)
{
  if (!fatal_jump)
    return; /* not ours: LLVM goes on to end the process */
  snprintf(fatal_text, sizeof fatal_text, "%s", reason);
  longjmp(*fatal_jump, 1);
}

static void
initialize(void)
{
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  LLVMInstallFatalErrorHandler(on_fatal);
}

static void
on_diagnostic(LLVMDiagnosticInfoRef info, void *user)
{
  Job *j = user;
  if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || j->diag[0])
    return;
  char *text = LLVMGetDiagInfoDescription(info);
  snprintf(j->diag, sizeof j->diag, "%s", text);
  LLVMDisposeMessage(text);
}

static attnc_status
llvm_error(Job *j, const char *what, char *message)
{
  attnc_status s =
      err_set(j->err, ATTNC_ERR_COMPILE, "%s: %s", what, message ? message : j->diag);
  if (message)
    LLVMDisposeMessage(message);
  return s;
}

static attnc_status
make_machine(Job *j)
{
  const LlvmRequest *r = j->req;
  LLVMTargetRef target;
  char *message = NULL, features[16];
  if (LLVMGetTargetFromTriple("nvptx64-nvidia-cuda", &target, &message))
    return llvm_error(j, "LLVM has no NVPTX", message);
  snprintf(features, sizeof features, "+ptx%d", r->ptx);
  j->tm = LLVMCreateTargetMachine(target, "nvptx64-nvidia-cuda", r->target->name, features,
                                  (LLVMCodeGenOptLevel)r->level, LLVMRelocDefault,
                                  LLVMCodeModelDefault);
  if (!j->tm)
    return err_set(j->err, ATTNC_ERR_COMPILE, "LLVM has no target machine for %s",
                   r->target->name);
  return ATTNC_OK;
}

static attnc_status
read_ll(Job *j)
{
  char *message = NULL;
  LLVMMemoryBufferRef buf =
      LLVMCreateMemoryBufferWithMemoryRangeCopy(j->req->ll, strlen(j->req->ll), "ll");
  if (LLVMParseIRInContext(j->lo->cx, buf, &j->lo->m, &message))
    return llvm_error(j, "the IR does not parse", message);
  return ATTNC_OK;
}

static attnc_status
build(Job *j)
{
  Lo *lo = j->lo;
  char *message = NULL;
  if (j->req->ll) {
    TRY(read_ll(j));
  } else {
    lo->m = LLVMModuleCreateWithNameInContext("attnc", lo->cx);
    lo->ptx = j->req->ptx;
    for (int i = 0; i < j->req->n; i++)
      TRY(lower_program(lo, j->req->progs[i], j->err));
  }
  LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(j->tm);
  LLVMSetModuleDataLayout(lo->m, layout);
  LLVMDisposeTargetData(layout);
  LLVMSetTarget(lo->m, "nvptx64-nvidia-cuda");
  if (LLVMVerifyModule(lo->m, LLVMReturnStatusAction, &message))
    return llvm_error(j, "the IR does not verify", message);
  LLVMDisposeMessage(message);
  return ATTNC_OK;
}

static char *
print_ir(const Job *j)
{
  char *text = LLVMPrintModuleToString(j->lo->m), *copy = strdup(text);
  LLVMDisposeMessage(text);
  return copy;
}

static attnc_status
optimise(Job *j)
{
  LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
  LLVMErrorRef e = LLVMRunPasses(j->lo->m, j->req->passes, j->tm, options);
  LLVMDisposePassBuilderOptions(options);
  if (!e)
    return ATTNC_OK;
  char *text = LLVMGetErrorMessage(e);
  err_set(j->err, ATTNC_ERR_COMPILE, "passes: %s", text);
  LLVMDisposeErrorMessage(text);
  return ATTNC_ERR_COMPILE;
}

static attnc_status
emit(Job *j)
{
  char *message = NULL;
  LLVMMemoryBufferRef buf;
  if (LLVMTargetMachineEmitToMemoryBuffer(j->tm, j->lo->m, LLVMAssemblyFile, &message,
                                          &buf))
    return llvm_error(j, "code generation", message);
  size_t n = LLVMGetBufferSize(buf);
  j->res->ptx = malloc(n + 1);
  if (j->res->ptx) {
    memcpy(j->res->ptx, LLVMGetBufferStart(buf), n);
    j->res->ptx[n] = 0;
    j->res->ptx_bytes = n;
  }
  LLVMDisposeMemoryBuffer(buf);
  if (!j->res->ptx)
    return err_set(j->err, ATTNC_ERR_NOMEM, "PTX text of %zu bytes", n);
  return j->diag[0] ? llvm_error(j, "code generation", NULL) : ATTNC_OK;
}

static attnc_status
run(Job *j)
{
  double t0 = clock_seconds();
  TRY(make_machine(j));
  TRY(build(j));
  double t1 = clock_seconds();
  if (j->req->keep_ll)
    j->res->ll = print_ir(j);
  double t2 = clock_seconds();
  TRY(optimise(j));
  double t3 = clock_seconds();
  if (j->req->keep_opt)
    j->res->opt = print_ir(j);
  double t4 = clock_seconds();
  TRY(emit(j));
  j->res->lower = t1 - t0;
  j->res->passes = t3 - t2;
  j->res->codegen = clock_seconds() - t4;
  return ATTNC_OK;
}

static attnc_status
guarded(Job *j)
{
  jmp_buf here;
  if (setjmp(here)) {
    fatal_jump = NULL;
    return err_set(j->err, ATTNC_ERR_COMPILE, "LLVM: %s", fatal_text);
  }
  fatal_jump = &here;
  attnc_status s = run(j);
  fatal_jump = NULL;
  if (j->lo->m)
    LLVMDisposeModule(j->lo->m);
  if (j->tm)
    LLVMDisposeTargetMachine(j->tm);
  LLVMContextDispose(j->lo->cx);
  return s;
}

static void
release(LlvmResult *r)
{
  free(r->ptx);
  free(r->ll);
  free(r->opt);
  *r = (LlvmResult){0};
}

static attnc_status
compile(const LlvmRequest *req, LlvmResult *res, attnc_error *err)
{
  Job j = {.req = req, .res = res, .err = err};
  jmp_buf full;
  *res = (LlvmResult){0};
  pthread_once(&once, initialize);
  j.arena = arena_new(0);
  if (!j.arena)
    return err_set(err, ATTNC_ERR_NOMEM, "arena of the lowering");
  if (setjmp(full)) {
    arena_free(j.arena);
    release(res);
    return err_set(err, ATTNC_ERR_NOMEM, "arena of the lowering");
  }
  arena_catch(j.arena, &full);
  j.lo = NEW(j.arena, Lo);
  j.lo->arena = j.arena;
  j.lo->cx = LLVMContextCreate();
  LLVMContextSetDiscardValueNames(j.lo->cx, req->ll == NULL); /* the reader needs names */
  LLVMContextSetDiagnosticHandler(j.lo->cx, on_diagnostic, &j);
  attnc_status s = guarded(&j);
  arena_free(j.arena);
  if (s != ATTNC_OK)
    release(res);
  return s;
}

const LlvmModule *
attnc_llvm_module(void)
{
  static const LlvmModule module = {LLVM_MODULE_ABI, ATTNC_CODE_ID, ATTNC_LLVM_VERSION,
                                    compile, release};
  return &module;
}
