/* What a module has: its functions and its variables. */
#include "emulator/driver/device.h"

#include <string.h>

CUfunction
module_function(struct CUmod_st *m, const char *name)
{
  for (int i = 0; i < m->n_functions; i++)
    if (!strcmp(m->functions[i].kernel->name, name))
      return &m->functions[i];
  return NULL;
}

const Var *
module_variable(const struct CUmod_st *m, const char *name)
{
  for (int i = 0; i < m->ptx.vars.n; i++) {
    const Var *v = m->ptx.vars.at[i];
    if ((v->space == SPACE_GLOBAL || v->space == SPACE_CONST) && !strcmp(v->name, name))
      return v;
  }
  return NULL;
}

/* The device, locked, if the module is there. */
static Device *
enter(CUmodule m, CUresult *r)
{
  Device *d = dev_enter(r);
  if (d && !module_has(d, m)) {
    dev_leave(d);
    *r = CUDA_ERROR_INVALID_HANDLE;
    return NULL;
  }
  return d;
}

CUresult
cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name)
{
  CUresult r;
  if (!function || !name)
    return CUDA_ERROR_INVALID_VALUE;
  Device *d = enter(module, &r);
  if (!d)
    return r;
  CUfunction f = module_function(module, name);
  dev_leave(d);
  if (!f)
    return CUDA_ERROR_NOT_FOUND;
  *function = f;
  return CUDA_SUCCESS;
}

CUresult
cuModuleGetFunctionCount(unsigned *count, CUmodule module)
{
  CUresult r;
  Device *d = count ? enter(module, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *count = (unsigned)module->n_functions;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuModuleEnumerateFunctions(CUfunction *functions, unsigned n, CUmodule module)
{
  CUresult r;
  Device *d = functions ? enter(module, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  for (unsigned i = 0; i < n && i < (unsigned)module->n_functions; i++)
    functions[i] = &module->functions[i];
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuModuleGetGlobal_v2(CUdeviceptr *p, size_t *bytes, CUmodule module, const char *name)
{
  CUresult r;
  Device *d = name ? enter(module, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  const Var *v = module_variable(module, name);
  if (v && p)
    *p = v->offset;
  if (v && bytes)
    *bytes = v->bytes;
  dev_leave(d);
  return v ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* A module is decoded when it is loaded, and a library's when it is first used. */
CUresult
cuModuleGetLoadingMode(CUmoduleLoadingMode *mode)
{
  if (!mode)
    return CUDA_ERROR_INVALID_VALUE;
  if (!dev_started())
    return CUDA_ERROR_NOT_INITIALIZED;
  *mode = CU_MODULE_LAZY_LOADING;
  return CUDA_SUCCESS;
}

/* ---- of a function ---- */

CUresult
cuFuncGetModule(CUmodule *module, CUfunction f)
{
  CUresult r;
  Device *d = module ? function_enter(&f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *module = f->module;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuFuncGetName(const char **name, CUfunction f)
{
  CUresult r;
  Device *d = name ? function_enter(&f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *name = f->kernel->name;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
function_param(CUfunction f, size_t index, size_t *offset, size_t *bytes)
{
  const Ast *a = f->kernel->ast;
  if (!offset || index >= (size_t)a->params.n)
    return CUDA_ERROR_INVALID_VALUE;
  *offset = a->params.at[index]->offset;
  if (bytes)
    *bytes = a->params.at[index]->bytes;
  return CUDA_SUCCESS;
}

CUresult
cuFuncGetParamInfo(CUfunction f, size_t index, size_t *offset, size_t *bytes)
{
  CUresult r;
  Device *d = function_enter(&f, &r);
  if (!d)
    return r;
  r = function_param(f, index, offset, bytes);
  dev_leave(d);
  return r;
}

CUresult
cuFuncIsLoaded(CUfunctionLoadingState *state, CUfunction f)
{
  CUresult r;
  Device *d = state ? function_enter(&f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (!d)
    return r;
  *state = CU_FUNCTION_LOADING_STATE_LOADED;
  dev_leave(d);
  return CUDA_SUCCESS;
}

CUresult
cuFuncSetCacheConfig(CUfunction f, CUfunc_cache config)
{
  CUresult r;
  bool ok = (unsigned)config <= CU_FUNC_CACHE_PREFER_EQUAL;
  Device *d = ok ? function_enter(&f, &r) : (r = CUDA_ERROR_INVALID_VALUE, NULL);
  if (d)
    dev_leave(d);
  return r;
}
