#include "runtime/plan.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/ptx.h"
#include "base/rules.h"
#include "base/str.h"
#include "runtime/launch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Bytes of each of the driver's two logs that are kept. */
enum { LOG_BYTES = 65536, MAX_NOTES = 32 };

/* What the driver said while it compiled. */
typedef struct JitLog {
  char info[LOG_BYTES], error[LOG_BYTES];
} JitLog;

/* What is known once the kernel is on the device. */
typedef struct Facts {
  int registers, local_bytes, static_shared; /* the largest over the entries */
  double load_seconds;
  const char *image;    /* what was loaded: cubin, ptx */
  attnc_error no_cubin; /* the driver's reason why not the cubin */
} Facts;

/* ---- does it fit ---- */

static int
shared_needed(const Recipe *r)
{
  unsigned most = 0;
  for (int i = 0; i < r->n_steps; i++)
    if (r->steps[i].is_launch && r->steps[i].launch.shared > most)
      most = r->steps[i].launch.shared;
  return (int)most;
}

/* An entry point that the recipe needs and the driver lacks, or NULL. */
static const char *
missing_entry(const Recipe *r, const Driver *d)
{
  bool extended = false;
  for (int i = 0; i < r->n_steps; i++)
    extended = extended || (r->steps[i].is_launch && r->steps[i].launch.extended);
  return extended && !d->cuLaunchKernelEx          ? "cuLaunchKernelEx"
         : r->n_maps && !d->cuTensorMapEncodeTiled ? "cuTensorMapEncodeTiled"
                                                   : NULL;
}

static attnc_status
driver_is(const Recipe *r, int least, const Driver *d, attnc_error *e)
{
  if (least <= d->version)
    return ATTNC_OK;
  return err_set(e, ATTNC_ERR_UNSUPPORTED,
                 "%s needs a driver for CUDA %d.%d; %s is for CUDA %d.%d", r->name,
                 least / 1000, least % 1000 / 10, d->path, d->version / 1000,
                 d->version % 1000 / 10);
}

/* Does the device take the kernel's cubin? */
static attnc_status
cubin_fits(const Recipe *r, const Driver *d, const Device *device, attnc_error *e)
{
  if (d->emulated)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "%s has a cubin for %s and no PTX, which %s runs", r->name, r->target,
                   device->name);
  if (!rule_runs_cubin(r->cc, r->exact, device->cc))
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "%s has a cubin for %s, which %s, sm_%d, does not run, and no PTX",
                   r->name, r->target, device->name, device->cc);
  return driver_is(r, r->cubin_driver, d, e);
}

attnc_status
plan_fits(const Recipe *r, const PlanImages *there, const Driver *d, const Device *device,
          attnc_error *e)
{
  if (!rule_runs(r->cc, r->exact, device->cc))
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "%s is made for %s%s; %s is sm_%d", r->name,
                   r->target, r->exact ? " alone" : " and later", device->name, device->cc);
  if (!there->ptx)
    TRY(cubin_fits(r, d, device, e));
  else if (!there->cubin || cubin_fits(r, d, device, NULL) != ATTNC_OK)
    TRY(driver_is(r, r->min_driver, d, e));
  const char *missing = missing_entry(r, d);
  if (missing)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "%s needs %s, which %s does not have: the "
                   "driver is too old",
                   r->name, missing, d->path);
  if (shared_needed(r) > device->smem_block)
    return err_set(e, ATTNC_ERR_UNSUPPORTED,
                   "%s needs %d bytes of shared memory; a block of %s may have %d", r->name,
                   shared_needed(r), device->name, device->smem_block);
  return ATTNC_OK;
}

/* ---- do text and recipe belong together ---- */

static unsigned
param_bytes(const Param *p)
{
  static const unsigned bytes[] = {[PARAM_PTR] = 8,
                                   [PARAM_I64] = 8,
                                   [PARAM_I32] = 4,
                                   [PARAM_F32] = 4,
                                   [PARAM_BYTES] = 128};
  return bytes[p->type];
}

/* The driver reads as many parameters as the entry declares, whatever it is given. */
static attnc_status
check_launch(const Launch *l, const PtxPair *pair, attnc_error *e)
{
  unsigned bytes[RECIPE_PARAMS];
  for (int i = 0; i < l->n_params; i++)
    bytes[i] = param_bytes(&l->params[i]);
  return ptx_check_entry(pair, l->entry, bytes, l->n_params, e);
}

static attnc_status
check_pair(const Recipe *r, const PlanText *text, attnc_error *e)
{
  char name[160];
  PtxPair pair = {.text = text->ptx, .what = text->what, .bad = ATTNC_ERR_IO};
  if (!pair.what) {
    snprintf(name, sizeof name, "the PTX of %.120s", r->name);
    pair.what = name;
  }
  if (!text->ptx)
    return ATTNC_OK;
  TRY(ptx_check_mark(&pair, r->mark, e));
  for (int i = 0; i < r->n_steps; i++)
    if (r->steps[i].is_launch)
      TRY(check_launch(&r->steps[i].launch, &pair, e));
  return ATTNC_OK;
}

/* ---- loading ---- */

static attnc_status
load_image(attnc_plan *p, const void *image, JitLog *log, attnc_error *e)
{
  CUjit_option options[] = {CU_JIT_INFO_LOG_BUFFER, CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES,
                            CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES,
                            CU_JIT_LOG_VERBOSE};
  /* By the driver's convention an integer travels as the pointer itself. */
  void *values[] = {log->info, (void *)(uintptr_t)LOG_BYTES, log->error,
                    (void *)(uintptr_t)LOG_BYTES, (void *)(uintptr_t)1};
  CUresult code = p->drv->cuModuleLoadDataEx(&p->module, image, 5, options, values);
  log->info[LOG_BYTES - 1] = log->error[LOG_BYTES - 1] = 0;
  if (code == CUDA_SUCCESS)
    return ATTNC_OK;
  p->module = NULL;
  return drv_fail(p->drv, code, "cuModuleLoadDataEx", log->error, e);
}

/* Where it is loaded, what its assembler said stands in for what the driver did not. */
static bool
load_made(attnc_plan *p, PlanCubin *made, JitLog *log)
{
  if (!made || p->drv->emulated || !made->get(made, p) ||
      load_image(p, made->image, log, &made->refused) != ATTNC_OK)
    return false;
  snprintf(log->info, sizeof log->info, "%s", made->log ? made->log : "");
  return true;
}

/* The cubin where the device takes it, else the PTX. */
static attnc_status
load_module(attnc_plan *p, const PlanText *text, JitLog *log, Facts *facts, attnc_error *e)
{
  facts->image = "cubin";
  if (!text->ptx)
    return load_image(p, text->cubin, log, e);
  if (text->cubin && cubin_fits(p->recipe, p->drv, &p->device, NULL) == ATTNC_OK &&
      load_image(p, text->cubin, log, &facts->no_cubin) == ATTNC_OK)
    return ATTNC_OK;
  if (!text->cubin && load_made(p, text->made, log))
    return ATTNC_OK;
  if (text->made)
    facts->no_cubin = text->made->refused;
  memset(log, 0, sizeof *log); /* of a cubin that was refused */
  facts->image = "ptx";
  return load_image(p, text->ptx, log, e);
}

static attnc_status
read_most(const attnc_plan *p, CUfunction f, CUfunction_attribute which, int *most,
          attnc_error *e)
{
  int value = 0;
  TRY(DRV(p->drv, e, cuFuncGetAttribute, &value, which, f));
  if (value > *most)
    *most = value;
  return ATTNC_OK;
}

/* Up to here a function has 48 KB; more has to be asked for (CUDA programming guide,
 * "Shared Memory", opt-in). */
enum { SHARED_GIVEN = 48 << 10 };

static attnc_status
prepare(const attnc_plan *p, const Launch *l, CUfunction *f, Facts *facts, attnc_error *e)
{
  const Driver *d = p->drv;
  CUresult code = d->cuModuleGetFunction(f, p->module, l->entry);
  if (code != CUDA_SUCCESS)
    return drv_fail(d, code, "cuModuleGetFunction", l->entry, e);
  if (l->shared > SHARED_GIVEN)
    TRY(DRV(d, e, cuFuncSetAttribute, *f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            (int)l->shared));
  if (d->cuFuncLoad)
    TRY(DRV(d, e, cuFuncLoad, *f));
  TRY(read_most(p, *f, CU_FUNC_ATTRIBUTE_NUM_REGS, &facts->registers, e));
  TRY(read_most(p, *f, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES, &facts->local_bytes, e));
  return read_most(p, *f, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, &facts->static_shared, e);
}

static attnc_status
load_here(attnc_plan *p, const PlanText *text, JitLog *log, Facts *facts, attnc_error *e)
{
  double start = clock_seconds();
  TRY(load_module(p, text, log, facts, e));
  for (int i = 0; i < p->recipe->n_steps; i++)
    if (p->recipe->steps[i].is_launch) {
      TRY(prepare(p, &p->recipe->steps[i].launch, &p->functions[i], facts, e));
      p->how[i] = launch_how(p, i);
    }
  facts->load_seconds = clock_seconds() - start;
  return ATTNC_OK;
}

/* ---- the plan as JSON ---- */

/* "… N bytes spill stores, M bytes spill loads": N + M, or -1 if the line has none. */
static long
spilled(const char *line)
{
  const char *stores = strstr(line, " bytes spill stores");
  const char *loads = strstr(line, " bytes spill loads");
  long sum = 0;
  if (!stores || !loads)
    return -1;
  for (const char *end = stores;; end = loads) {
    const char *digit = end;
    while (digit > line && digit[-1] >= '0' && digit[-1] <= '9')
      digit--;
    sum += strtol(digit, NULL, 10);
    if (end == loads)
      return sum;
  }
}

/* A remark "(C75nn)" by which the compiler says that it serialised asynchronous matrix
 * instructions, or what made it: C7500 to C7520. */
static bool
is_diagnostic(const char *line)
{
  const char *at = strstr(line, "C75");
  return at && at[3] >= '0' && at[3] <= '9' && at[4] >= '0' && at[4] <= '9' &&
         (at[3] - '0') * 10 + (at[4] - '0') <= 20;
}

static void
append(json_t *list, const char *line)
{
  if (json_array_size(list) < MAX_NOTES)
    json_array_append_new(list, json_stringn_nocheck(line, strlen(line)));
}

/* Lines worth keeping: spills, warnings, diagnostics. */
static void
keep_lines(attnc_plan *p, json_t *notes, char *log, long *spills)
{
  for (char *save, *line = strtok_r(log, "\n", &save); line;
       line = strtok_r(NULL, "\n", &save)) {
    long n = spilled(line);
    if (n > 0)
      *spills += n;
    if (is_diagnostic(line))
      append(p->diagnostics, line);
    if (n > 0 || is_diagnostic(line) || strstr(line, "warning"))
      append(notes, line);
  }
}

static json_t *
describe_seconds(const PlanText *text, const Facts *facts)
{
  return json_pack("{s:f, s:f, s:f}", "lookup", text->lookup, "compile", text->compile,
                   "load", facts->load_seconds);
}

static char *
dump(const json_t *root)
{
  return json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
}

static char *
describe(attnc_plan *p, const PlanText *text, JitLog *log, const Facts *facts)
{
  json_t *root = json_copy(p->recipe->json), *notes = json_array();
  long spills = 0;
  p->diagnostics = json_array();
  p->from_cubin = !strcmp(facts->image, "cubin");
  /* Verbose: it is silent only when it has nothing to do. */
  p->compiled = !p->from_cubin && log->info[0];
  keep_lines(p, notes, log->info, &spills);
  keep_lines(p, notes, log->error, &spills);
  if (text->note)
    json_array_append_new(notes, json_string(text->note));
  if (*facts->no_cubin.message)
    append(notes, facts->no_cubin.message);
  json_object_set_new(root, "image", json_string(facts->image));
  json_object_set_new(root, "source", json_string(text->source));
  json_object_set_new(root, "layer", json_string(text->layer));
  json_object_set_new(root, "device", json_string(p->device.name));
  json_object_set_new(root, "device_ordinal", json_integer(p->device.ordinal));
  json_object_set_new(root, "registers", json_integer(facts->registers));
  json_object_set_new(root, "spilled_bytes", json_integer(spills));
  json_object_set_new(root, "local_bytes", json_integer(facts->local_bytes));
  json_object_set_new(root, "shared_bytes",
                      json_integer(facts->static_shared + shared_needed(p->recipe)));
  json_object_set_new(root, "notes", notes);
  json_object_set(root, "diagnostics", p->diagnostics);
  json_object_set_new(root, "seconds", describe_seconds(text, facts));
  char *out = dump(root);
  json_decref(root);
  return out;
}

attnc_status
plan_diagnose(attnc_plan *p, json_t *strings, attnc_error *e)
{
  json_t *root = json_loads(p->json, 0, NULL);
  json_array_extend(p->diagnostics, strings);
  json_array_extend(json_object_get(root, "notes"), strings);
  json_object_set(root, "diagnostics", p->diagnostics);
  char *text = root ? dump(root) : NULL;
  json_decref(root);
  if (!text)
    return err_set(e, ATTNC_ERR_NOMEM, "plan: out of memory");
  free(p->json);
  p->json = text;
  return ATTNC_OK;
}

/* ---- making and giving back ---- */

/* A thread may make and drop plans while another captures a stream: a load that is not said
 * to be relaxed would end that capture, or be refused (CUDA Driver API,
 * cuThreadExchangeStreamCaptureMode).  Called twice, it is as before. */
static void
exchange_mode(const Driver *d, CUstreamCaptureMode *mode)
{
  if (d->cuThreadExchangeStreamCaptureMode)
    d->cuThreadExchangeStreamCaptureMode(mode);
}

static void
unload(const attnc_plan *p)
{
  CUcontext popped;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  if (!p->module || p->drv->cuCtxPushCurrent_v2(p->context) != CUDA_SUCCESS)
    return;
  exchange_mode(p->drv, &mode);
  p->drv->cuModuleUnload(p->module);
  exchange_mode(p->drv, &mode);
  p->drv->cuCtxPopCurrent_v2(&popped);
}

static void
plan_free(attnc_plan *p)
{
  if (p->context && p->pid == (int)getpid()) {
    unload(p);
    p->drv->cuDevicePrimaryCtxRelease_v2(p->device.handle);
  }
  recipe_free(p->recipe);
  trace_release(p->trace);
  launches_release(p->launches);
  drv_close(p->drv);
  json_decref(p->diagnostics);
  free(p->json);
  free(p);
}

static attnc_plan *
plan_new(const Driver *d, const Device *device, Recipe *r)
{
  static uint64_t serials; /* atomic */
  attnc_plan *p = calloc(1, sizeof *p);
  if (!p)
    return NULL;
  p->refs = 1;
  p->pid = (int)getpid();
  p->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
  p->drv = d;
  p->device = *device;
  p->recipe = r;
  drv_retain(d);
  return p;
}

static attnc_status
load_on_device(attnc_plan *p, const PlanText *text, attnc_error *e)
{
  JitLog *log = calloc(1, sizeof *log);
  Facts facts = {0};
  CUcontext popped;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  if (!log)
    return err_set(e, ATTNC_ERR_NOMEM, "plan: out of memory");
  attnc_status status =
      DRV(p->drv, e, cuDevicePrimaryCtxRetain, &p->context, p->device.handle);
  if (status == ATTNC_OK)
    status = DRV(p->drv, e, cuCtxPushCurrent_v2, p->context);
  if (status == ATTNC_OK) {
    exchange_mode(p->drv, &mode);
    status = load_here(p, text, log, &facts, e);
    exchange_mode(p->drv, &mode);
    p->drv->cuCtxPopCurrent_v2(&popped);
  }
  if (status == ATTNC_OK) {
    p->json = describe(p, text, log, &facts);
    if (!p->json)
      status = err_set(e, ATTNC_ERR_NOMEM, "plan: out of memory");
  }
  free(log);
  return status;
}

attnc_status
plan_load(const Driver *d, const Device *device, const PlanText *text, attnc_plan **out,
          attnc_error *e)
{
  Recipe *r;
  TRY(recipe_parse(text->json, text->json_n, &r, e));
  attnc_status status = text->defaults ? spec_defaults_put(text->defaults, r, e) : ATTNC_OK;
  const PlanImages there = {.ptx = text->ptx, .cubin = text->cubin};
  if (status == ATTNC_OK)
    status = plan_fits(r, &there, d, device, e);
  if (status == ATTNC_OK)
    status = check_pair(r, text, e);
  attnc_plan *p = status == ATTNC_OK ? plan_new(d, device, r) : NULL;
  if (!p) {
    recipe_free(r);
    return status == ATTNC_OK ? err_set(e, ATTNC_ERR_NOMEM, "plan: out of memory") : status;
  }
  p->trace = trace_retain(text->trace);
  p->launches = launches_retain(text->launches);
  p->launched = launches_of(p->launches, p->serial);
  status = load_on_device(p, text, e);
  if (status != ATTNC_OK) {
    plan_free(p);
    return status;
  }
  *out = p;
  return ATTNC_OK;
}

void
attnc_plan_retain(attnc_plan *p)
{
  if (p)
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
}

void
attnc_plan_release(attnc_plan *p)
{
  if (p && __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) == 0)
    plan_free(p);
}

/* ---- asking ---- */

const char *
attnc_plan_json(const attnc_plan *p)
{
  return p ? p->json : NULL;
}

int
attnc_plan_slot(const attnc_plan *p, const char *name)
{
  for (int i = 0; p && name && i < p->recipe->n_slots; i++)
    if (p->recipe->tensors[i].name && str_eq(p->recipe->tensors[i].name, name))
      return i;
  return -1;
}

int
attnc_plan_scalar(const attnc_plan *p, const char *name)
{
  for (int i = 0; p && name && i < RECIPE_SCALARS; i++)
    if (p->recipe->scalars[i].name && str_eq(p->recipe->scalars[i].name, name))
      return i;
  return -1;
}
