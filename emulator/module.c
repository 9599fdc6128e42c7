#include "emulator/dev.h"
#include "emulator/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_LIMIT = 256 << 20, PTX_VERSION = 90 };

/* ---- is this for us? ---- */

static CUresult
check_target(const Ptx *p, const Chip *c, char *log, size_t n)
{
  if (p->version > PTX_VERSION) {
    snprintf(log, n, "ptx:1: error: .version %d.%d is newer than %d.%d\n", p->version / 10,
             p->version % 10, PTX_VERSION / 10, PTX_VERSION % 10);
    return CUDA_ERROR_UNSUPPORTED_PTX_VERSION;
  }
  if (!target_exists(p->sm, p->sm_suffix, p->version)) {
    snprintf(log, n, "ptx:1: error: .version %d.%d has no target sm_%d%.1s\n",
             p->version / 10, p->version % 10, p->sm, &p->sm_suffix);
    return CUDA_ERROR_INVALID_PTX;
  }
  if (!target_runs_on(p->sm, p->sm_suffix, c->cc)) {
    snprintf(log, n, "ptx:1: error: .target sm_%d%.1s does not run on the emulated %s\n",
             p->sm, &p->sm_suffix, c->name);
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  return CUDA_SUCCESS;
}

/* ---- variables of the module ---- */

static const Var *
find_var(const Ptx *p, const char *name)
{
  for (int i = 0; i < p->vars.n; i++)
    if (!strcmp(p->vars.at[i]->name, name))
      return p->vars.at[i];
  return NULL;
}

static bool
in_memory(const Var *v)
{
  return v->space == SPACE_GLOBAL || v->space == SPACE_CONST;
}

static CUresult
place_vars(Device *d, struct CUmod_st *m)
{
  for (int i = 0; i < m->ptx.vars.n; i++) {
    Var *v = m->ptx.vars.at[i];
    if (!in_memory(v))
      continue;
    CUresult r = dev_alloc(d, v->bytes ? v->bytes : 1, v->space == SPACE_CONST, &v->offset);
    if (r)
      return r;
    m->vars[m->n_vars++] = v->offset;
    Alloc *a = dev_find(d, v->offset, 1);
    memset(a->host, 0, v->bytes);
    if (v->init)
      memcpy(a->host, v->init, v->bytes);
    shadow_mem_init(a->shadow, 0, v->bytes);
  }
  return CUDA_SUCCESS;
}

static void
patch_vars(Device *d, struct CUmod_st *m)
{
  for (int i = 0; i < m->ptx.vars.n; i++) {
    const Var *v = m->ptx.vars.at[i];
    for (const Patch *p = v->patches; p; p = p->next) {
      const Var *to = find_var(&m->ptx, p->name);
      if (!to || !in_memory(to))
        ptx_fail(&m->ptx, p->line, "%s is no variable in global memory", p->name);
      uint64_t address = to->offset + (uint64_t)p->add;
      memcpy(dev_find(d, v->offset, 1)->host + p->at, &address, sizeof address);
    }
  }
}

/* ---- loading ---- */

static void
decode_all(Device *d, struct CUmod_st *m)
{
  patch_vars(d, m);
  for (int i = 0; i < m->ptx.entries.n; i++) {
    m->functions[i].module = m;
    m->functions[i].kernel = decode_kernel(&m->ptx, m->ptx.entries.at[i]);
  }
  m->n_functions = m->ptx.entries.n;
}

static bool
decode(Device *d, struct CUmod_st *m)
{
  jmp_buf fail;
  m->ptx.fail = &fail;
  arena_catch(m->arena, &fail);
  int why = setjmp(fail);
  if (!why)
    decode_all(d, m);
  m->ptx.no_memory = why == 1;
  m->ptx.fail = NULL;
  arena_catch(m->arena, NULL);
  return !why;
}

static CUresult
load(Device *d, struct CUmod_st *m, const char *text, char *log, size_t n)
{
  static atomic_uint_fast64_t ids;
  m->ptx.id = atomic_fetch_add(&ids, 1) + 1;
  m->ptx.arena = m->arena = arena_new(ARENA_LIMIT);
  if (!m->arena)
    return CUDA_ERROR_OUT_OF_MEMORY;
  CUresult r = CUDA_SUCCESS;
  if (ptx_parse(&m->ptx, text, strlen(text))) {
    r = check_target(&m->ptx, d->chip, log, n);
    m->functions = calloc((size_t)m->ptx.entries.n + 1, sizeof *m->functions);
    m->vars = calloc((size_t)m->ptx.vars.n + 1, sizeof *m->vars);
    if (!m->functions || !m->vars)
      r = CUDA_ERROR_OUT_OF_MEMORY;
    if (!r)
      r = place_vars(d, m);
    if (r || decode(d, m))
      return r;
  }
  snprintf(log, n, "%s", m->ptx.error);
  return m->ptx.no_memory ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_INVALID_PTX;
}

static void
destroy(Device *d, struct CUmod_st *m)
{
  spare_forget(m->ptx.id);
  for (int i = 0; i < m->n_vars; i++)
    dev_free(d, m->vars[i]);
  for (int i = 0; i < m->n_functions; i++)
    m->functions[i].kernel = NULL;
  arena_free(m->arena);
  free(m->functions);
  free(m->vars);
  free(m);
}

CUresult
module_load(Device *d, const char *text, struct CUmod_st **out, char *log, size_t n)
{
  struct CUmod_st *m = calloc(1, sizeof *m);
  if (!m)
    return CUDA_ERROR_OUT_OF_MEMORY;
  m->owner = context_current();
  CUresult r = load(d, m, text, log, n);
  if (r) {
    destroy(d, m);
    return r;
  }
  m->next = d->modules;
  d->modules = m;
  *out = m;
  return CUDA_SUCCESS;
}

void
module_free(Device *d, struct CUmod_st *m)
{
  struct CUmod_st **p = &d->modules;
  while (*p && *p != m)
    p = &(*p)->next;
  if (*p)
    *p = m->next;
  destroy(d, m);
}

void
module_free_all(Device *d, CUcontext owner)
{
  for (struct CUmod_st *m = d->modules, *next; m; m = next) {
    next = m->next;
    if (m->owner == owner)
      module_free(d, m);
  }
}

bool
module_has(const Device *d, const struct CUmod_st *m)
{
  const struct CUmod_st *p = d->modules;
  while (p && p != m)
    p = p->next;
  return p && m;
}

bool
module_has_function(const Device *d, const struct CUfunc_st *f)
{
  for (const struct CUmod_st *m = d->modules; m; m = m->next)
    for (int i = 0; i < m->n_functions; i++)
      if (&m->functions[i] == f)
        return true;
  return false;
}

/* ---- cuModuleLoadDataEx ---- */

typedef struct Jit {
  char *buffer[2]; /* info, error */
  size_t size[2];
  void **size_out[2];
} Jit;

static bool
read_options(Jit *j, unsigned n, const CUjit_option *options, void **values)
{
  *j = (Jit){0};
  for (unsigned i = 0; i < n; i++) {
    uintptr_t v = (uintptr_t)values[i];
    switch (options[i]) {
    case CU_JIT_INFO_LOG_BUFFER:
    case CU_JIT_ERROR_LOG_BUFFER:
      j->buffer[options[i] == CU_JIT_ERROR_LOG_BUFFER] = values[i];
      break;
    case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
    case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
      j->size[options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES] = (size_t)(unsigned)v;
      j->size_out[options[i] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES] = &values[i];
      break;
    case CU_JIT_MAX_REGISTERS:
    case CU_JIT_THREADS_PER_BLOCK:
    case CU_JIT_WALL_TIME:
    case CU_JIT_LOG_VERBOSE:
      break;
    default:
      return false;
    }
  }
  return true;
}

/* What was filled in goes back through the size option. */
static void
write_logs(Jit *j, const char *error)
{
  for (int i = 0; i < 2; i++) {
    int n = 0;
    if (j->buffer[i] && j->size[i])
      n = snprintf(j->buffer[i], j->size[i], "%s", i ? error : "");
    if ((size_t)n >= j->size[i])
      n = j->size[i] ? (int)j->size[i] - 1 : 0;
    if (j->size_out[i])
      *j->size_out[i] = (void *)(uintptr_t)n;
  }
}

/* Binaries are for chips. */
static bool
is_text(const char *image)
{
  const unsigned char *p = (const unsigned char *)image;
  while (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r')
    p++;
  return *p == '.' || *p == '/';
}

CUresult
cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned n, CUjit_option *options,
                   void **values)
{
  Jit j;
  CUresult r;
  char log[600] = "";
  if (!module || !image || (n && (!options || !values)) ||
      !read_options(&j, n, options, values))
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  if (is_text(image))
    r = module_load(d, image, module, log, sizeof log);
  else
    r = memcmp(image, "\177ELF", 4) ? CUDA_ERROR_INVALID_IMAGE
                                    : CUDA_ERROR_NO_BINARY_FOR_GPU;
  dev_leave(d);
  write_logs(&j, log);
  return r;
}

CUresult
cuModuleUnload(CUmodule module)
{
  CUresult r;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  if (module_has(d, module))
    module_free(d, module);
  else
    r = CUDA_ERROR_INVALID_HANDLE;
  dev_leave(d);
  return r;
}

CUresult
cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
  CUresult r;
  if (!function || !name)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  r = module_has(d, module) ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_HANDLE;
  for (int i = 0; r == CUDA_ERROR_NOT_FOUND && i < module->n_functions; i++)
    if (!strcmp(module->functions[i].kernel->name, name)) {
      *function = &module->functions[i];
      r = CUDA_SUCCESS;
    }
  dev_leave(d);
  return r;
}
