#include "tests/unit/fake_compiler.h"

#include "base/err.h"
#include "compiler/gen.h"
#include "compiler/sched.h"
#include "compiler/kernel.h"
#include "compiler/signature.h"
#include "tests/unit/rt.h"

#include <time.h>

FakeCompiler fake;

static int specs; /* atomic */
static Pin pin;

const char *const gen_code_id = "fake";
const char *const gen_llvm_version = "22.0.0";
const char *const dump_names[DUMP_COUNT] = {
#define X(id, name, text) name,
    DUMP_TABLE(X)
#undef X
};

const Target targets[] = {{.name = "sm_80", .cc = 80, .ptx = 70},
                          {.name = "sm_86", .cc = 86, .ptx = 71},
                          {.name = "sm_89", .cc = 89, .ptx = 78},
                          {.name = "sm_90", .cc = 90, .ptx = 78},
                          {.name = "sm_90a", .cc = 90, .exact = true, .ptx = 80}};
const int n_targets = 5;

const Target *
target_find(const char *name)
{
  for (int i = 0; i < n_targets; i++)
    if (!strcmp(targets[i].name, name))
      return &targets[i];
  return NULL;
}

/* ---- specs ---- */

static void
fake_scale(attnc_spec *s, double scale)
{
  Signature *call = (Signature *)(uintptr_t)s->call[ATTNC_OP_FWD];
  s->softmax_scale = scale;
  call->n_scalars = 1;
  call->scalars[0] = (SignatureScalar){.name = "softmax_scale", .initial = scale};
}

attnc_spec *
fake_spec(const char *name, const char *canonical)
{
  struct {
    attnc_spec spec;
    Signature call;
  } *both = calloc(1, sizeof *both);
  attnc_spec *s = &both->spec; /* first: freed with the whole */
  s->call[ATTNC_OP_FWD] = &both->call;
  s->refs = 1;
  s->name = name;
  s->canonical = canonical;
  fake_scale(s, 0.125);
  sha256_hex(canonical, strlen(canonical), s->hash);
  __atomic_add_fetch(&specs, 1, __ATOMIC_RELAXED);
  return s;
}

int
fake_specs(void)
{
  return __atomic_load_n(&specs, __ATOMIC_RELAXED);
}

void
attnc_spec_release(attnc_spec *s)
{
  if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
    return;
  free(s);
  __atomic_sub_fetch(&specs, 1, __ATOMIC_RELAXED);
}

const char *
attnc_spec_name(const attnc_spec *s)
{
  return s->name;
}

/* Says the pin, as the real one does. */
const char *
attnc_spec_json(const attnc_spec *s)
{
  static _Thread_local char text[256];
  snprintf(text, sizeof text,
           "{\"hash\":\"%s\",\"name\":\"%s\",\"pin\":%d,\"revision\":%d}", s->hash, s->name,
           fake.pinned_m, fake.revision);
  return text;
}

const Pin *
spec_pin(const Spec *s, const char *target, const char *template_name)
{
  (void)s;
  (void)target;
  (void)template_name;
  pin = (Pin){.how.block_m = fake.pinned_m};
  return fake.pinned_m ? &pin : NULL;
}

const Template *
template_find(const char *name)
{
  static const Template fake_template = {.name = "fake", .revision = 1};
  return str_eq(name, "fake") ? &fake_template : NULL;
}

/* ---- what enters the key ---- */

attnc_status
gen_schedule(const Spec *s, const ProblemCopy *p, const Target *t,
             const attnc_schedule *want, attnc_schedule *out, const char **source,
             attnc_error *e)
{
  (void)s;
  (void)p;
  (void)t;
  *out = (attnc_schedule){.size = sizeof *out,
                          .template_name = "fake",
                          .block_m = 128,
                          .block_n = 64,
                          .num_stages = 2,
                          .num_warps = 4,
                          .q_in_regs = 1};
  *source = "model";
  if (want && want->block_m % 16)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "block_m %d is not a multiple of 16",
                   want->block_m);
  int m = want && want->block_m ? want->block_m : fake.pinned_m;
  if (m) {
    out->block_m = m;
    *source = "pinned";
  }
  return ATTNC_OK;
}

attnc_status
gen_problem(const Spec *s, const attnc_problem *from, ProblemCopy *to, attnc_error *e)
{
  (void)s;
  return problem_take(to, from, 0, e);
}

attnc_status
gen_values(const Spec *s, const ProblemCopy *p, Str *out, attnc_error *e)
{
  if (!(s->specialize & 1u << SPECIALIZE_SQ))
    return ATTNC_OK;
  if (!p->sizes.sq)
    return err_set(e, ATTNC_ERR_USAGE, "sq is specialised: give its value");
  str_printf(out, "sq=%lld", (long long)p->sizes.sq);
  return ATTNC_OK;
}

int
gen_ptx_version(const Target *t, const attnc_schedule *s)
{
  (void)s;
  return t->ptx;
}

const char *
gen_options(const attnc_schedule *s)
{
  (void)s;
  return fake.revision ? "level 3" : "level 2";
}

/* ---- compiling ---- */

attnc_status
gen_compile(const Spec *s, const ProblemCopy *p, const char *target,
            const attnc_schedule *want, const attnc_compile_options *o, attnc_kernel **out,
            attnc_error *e)
{
  (void)p;
  (void)target;
  (void)want;
  __atomic_add_fetch(&fake.compiles, 1, __ATOMIC_RELAXED);
  nanosleep(&(struct timespec){.tv_nsec = fake.delay_ms * 1000000L}, NULL);
  if (fake.fail != ATTNC_OK)
    return err_set(e, fake.fail, "the fake compiler was told to fail");
  attnc_kernel *k = calloc(1, sizeof *k);
  k->ptx = RT_PTX;
  k->ptx_bytes = strlen(RT_PTX);
  k->json = fake.recipe ? fake.recipe : RT_RECIPE;
  if (o && o->dump)
    k->dump[DUMP_SPEC] = s->canonical;
  *out = k;
  return ATTNC_OK;
}

void
attnc_kernel_release(attnc_kernel *k)
{
  free(k);
}

const char *
attnc_kernel_ptx(const attnc_kernel *k, size_t *n)
{
  if (n)
    *n = k->ptx_bytes;
  return k->ptx;
}

const char *
attnc_kernel_json(const attnc_kernel *k)
{
  return k->json;
}

const char *
attnc_kernel_dump(const attnc_kernel *k, const char *stage)
{
  for (int i = 0; i < DUMP_COUNT; i++)
    if (!strcmp(dump_names[i], stage))
      return k->dump[i];
  return NULL;
}

bool
sched_complete(const attnc_schedule *s)
{
  return s && s->template_name && s->block_m && s->block_n && s->num_stages &&
         s->num_warps && s->q_in_regs;
}
