#include "compiler/backend.h"

#include "base/env.h"
#include "base/err.h"
#include "base/fork.h"
#include "code_id.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock =
    PTHREAD_MUTEX_INITIALIZER;   /* taken inside of the gate alone */
static const LlvmModule *module; /* guarded by lock, set once */
static char path[4096];

static const char name[] = "libattnc_llvm.so";
static const char installed[] = ATTNC_PLUGIN_DIR "/libattnc_llvm.so";

/* The first that is there of: in attnc/ beside this library, beside it, where it was to be
 * installed (what is beside a program that is linked statically is the program's).  False:
 * none is, and `out` is where it would be beside the library. */
static bool
find_module(char *out, size_t n)
{
  static const char *const places[] = {"attnc/", ""};
  Dl_info here;
  const char *slash = NULL;
  if (dladdr((const void *)&lock, &here) && here.dli_fname)
    slash = strrchr(here.dli_fname, '/');
  for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++) {
    snprintf(out, n, "%.*s/%s%s", (int)(slash - here.dli_fname), here.dli_fname, places[i],
             name);
    if (access(out, F_OK) == 0)
      return true;
  }
  if (access(installed, F_OK) != 0)
    return false;
  snprintf(out, n, "%s", installed);
  return true;
}

static void *
try_open(const char *where)
{
  void *h = dlopen(where, RTLD_NOW | RTLD_LOCAL);
  if (h)
    snprintf(path, sizeof path, "%s", where);
  return h;
}

static attnc_status
check(const LlvmModule *m, attnc_error *err)
{
  if (m->abi != LLVM_MODULE_ABI)
    return err_set(err, ATTNC_ERR_COMPILE, "%s has ABI %d, %d is needed", path, m->abi,
                   LLVM_MODULE_ABI);
  if (strcmp(m->code_id, ATTNC_CODE_ID) != 0)
    return err_set(err, ATTNC_ERR_COMPILE,
                   "%s is of another build than libattnc (code %.12s, not %.12s): build or "
                   "install both",
                   path, m->code_id, ATTNC_CODE_ID);
  if (strcmp(m->version, ATTNC_LLVM_VERSION) != 0)
    return err_set(err, ATTNC_ERR_COMPILE, "%s is LLVM %s, libattnc was built with %s",
                   path, m->version, ATTNC_LLVM_VERSION);
  return ATTNC_OK;
}

static attnc_status
open_module(attnc_error *err)
{
  char beside[4096];
  const char *where = env_get(ENV_LLVM);
  beside[0] = 0;
  /* The one that is there, as the user or the folder has it: if it cannot be opened, for
   * want of memory perhaps, that is the reason, and no other is taken in its place. */
  if (!where && find_module(beside, sizeof beside))
    where = beside;
  void *h = try_open(where ? where : name);
  if (!h)
    return err_set(err, ATTNC_ERR_COMPILE, "%s cannot be opened: %s%s%s",
                   where ? where : name, dlerror(),
                   where || !*beside ? "" : "; there is no ", where ? "" : beside);
  const LlvmModule *(*get)(void);
  *(void **)&get = dlsym(h, "attnc_llvm_module");
  if (!get)
    return err_set(err, ATTNC_ERR_COMPILE, "%s: no attnc_llvm_module", path);
  TRY(check(get(), err));
  module = get();
  return ATTNC_OK;
}

attnc_status
backend_open(const LlvmModule **out, attnc_error *err)
{
  fork_gate_enter();
  pthread_mutex_lock(&lock);
  attnc_status s = module ? ATTNC_OK : open_module(err);
  *out = module;
  pthread_mutex_unlock(&lock);
  fork_gate_leave();
  return s;
}

attnc_status
backend_compile(const LlvmModule *m, const LlvmRequest *q, LlvmResult *out,
                attnc_error *err)
{
  fork_gate_enter();
  attnc_status s = m->compile(q, out, err);
  fork_gate_leave();
  return s;
}

const char *
backend_path(void)
{
  fork_gate_enter();
  pthread_mutex_lock(&lock);
  const char *p = module ? path : NULL;
  pthread_mutex_unlock(&lock);
  fork_gate_leave();
  return p;
}
