#include "emulator/driver/device.h"
#include "emulator/driver/image.h"
#include "emulator/driver/jit.h"
#include "emulator/ptx/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARENA_LIMIT = 256 << 20, PTX_VERSION = 94 };

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
place_var(Device *d, const struct CUmod_st *m, Var *v)
{
  uint64_t bytes = v->bytes ? v->bytes : 1;
  if (!v->managed)
    return dev_alloc(d, bytes, DEV_ZEROS | (v->space == SPACE_CONST ? DEV_READ_ONLY : 0),
                     &v->offset);
  void *host = host_map(bytes);
  CUresult r =
      host ? dev_map(d, host, bytes, ALLOC_MANAGED, m->owner) : CUDA_ERROR_OUT_OF_MEMORY;
  if (r && host)
    host_unmap(host, bytes);
  v->offset = (uintptr_t)host;
  return r;
}

static CUresult
place_vars(Device *d, struct CUmod_st *m)
{
  for (int i = 0; i < m->ptx.vars.n; i++) {
    Var *v = m->ptx.vars.at[i];
    if (!in_memory(v))
      continue;
    CUresult r = place_var(d, m, v);
    if (r)
      return r;
    m->vars[m->n_vars++] = v->offset;
    Alloc *a = dev_find(d, v->offset, 1);
    a->owner = m->owner;
    if (v->init)
      memcpy(a->host, v->init, v->init_bytes);
  }
  return CUDA_SUCCESS;
}

static uint64_t
symbol_address(Ptx *p, const Patch *patch)
{
  const Var *v = find_var(p, patch->name);
  if (v && in_memory(v))
    return v->offset;
  const Ast *f = ptx_func(p, patch->name, (int)strlen(patch->name));
  f = f && f->alias ? f->alias : f;
  if (!f || !f->has_body || patch->generic)
    ptx_fail(p, patch->line, "%s is no variable in global memory and no function",
             patch->name);
  return FUNCTION_BASE + (uint64_t)f->number * FUNCTION_STEP;
}

static void
patch_vars(Device *d, struct CUmod_st *m)
{
  for (int i = 0; i < m->ptx.vars.n; i++) {
    const Var *v = m->ptx.vars.at[i];
    for (const Patch *p = v->patches; p; p = p->next) {
      uint64_t address = symbol_address(&m->ptx, p) + (uint64_t)p->add;
      if (p->mask)
        address = (address & p->mask) >> __builtin_ctzll(p->mask);
      memcpy(dev_find(d, v->offset, 1)->host + p->at, &address, p->bytes);
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
  decode_unused(&m->ptx);
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
module_load(Device *d, CUcontext owner, const char *text, struct CUmod_st **out, char *log,
            size_t n)
{
  struct CUmod_st *m = calloc(1, sizeof *m);
  if (!m)
    return CUDA_ERROR_OUT_OF_MEMORY;
  m->owner = owner;
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

/* ---- what a program loads ---- */

CUresult
cuModuleLoadDataEx(CUmodule *module, const void *data, unsigned n, CUjit_option *options,
                   void **values)
{
  Jit jit;
  CUresult r;
  char log[JIT_LOG] = "";
  Image image = {0};
  if (!module || !data || !jit_read(&jit, n, options, values))
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = dev_enter(&r);
  if (!d)
    return r;
  r = image_read(&image, data, d->chip, log, sizeof log);
  if (!r)
    r = module_load(d, context_current(), image.text, module, log, sizeof log);
  free(image.owned);
  dev_leave(d);
  jit_write(&jit, log);
  return r;
}

CUresult
cuModuleLoadData(CUmodule *module, const void *data)
{
  return cuModuleLoadDataEx(module, data, 0, NULL, NULL);
}

CUresult
cuModuleLoadFatBinary(CUmodule *module, const void *data)
{
  return cuModuleLoadDataEx(module, data, 0, NULL, NULL);
}

CUresult
cuModuleLoad(CUmodule *module, const char *path)
{
  char *data = NULL;
  CUresult r = path ? image_file(path, &data) : CUDA_ERROR_INVALID_VALUE;
  if (!r)
    r = cuModuleLoadData(module, data);
  free(data);
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
