#include "tests/unit/fake_compiler.h"

#include "base/err.h"
#include "compiler/gen.h"
#include "compiler/sched.h"
#include "compiler/kernel.h"
#include "compiler/spec/signature.h"
#include "templates/lengths.h"
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

attnc_status
attnc_target_check(const char *name, attnc_error *e)
{
  return target_find(name) ? ATTNC_OK
                           : err_set(e, ATTNC_ERR_UNSUPPORTED, "unknown target %s", name);
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

bool
spec_has_lengths(const Spec *s)
{
  (void)s;
  return false;
}

Case
sched_case(const Spec *s, const ProblemCopy *p, const Target *t)
{
  (void)p;
  return (Case){.spec = s, .target = t};
}

Lengths
lengths_assumed(const Case *c)
{
  (void)c;
  return (Lengths){.n = 0};
}

const char *
spec_json_hash(const Spec *s)
{
  static _Thread_local char hex[65];
  const char *text = attnc_spec_json(s);
  sha256_hex(text, strlen(text), hex);
  return hex;
}

const Pin *
spec_pin(const Spec *s, const char *target, const char *template_name)
{
  (void)s;
  (void)target;
  (void)template_name;
  char text[16];
  pin = (Pin){.arch = NULL};
  snprintf(text, sizeof text, "%d", fake.pinned_m);
  sched_set(&pin.how, "block_m", text);
  return fake.pinned_m ? &pin : NULL;
}

bool
spec_specializes(const Spec *s, Specialize what)
{
  return s->specialize & 1u << what;
}

const Template *
template_find(const char *name)
{
  static const Template fake_template = {.name = "fake", .revision = 1};
  return str_eq(name, "fake") ? &fake_template : NULL;
}

/* ---- what enters the key ---- */

attnc_status
gen_schedule(const Spec *s, const ProblemCopy *p, const Target *t, const Schedule *want,
             Sched *out, const char **source, attnc_error *e)
{
  int asked = sched_int(want, "block_m"), m = asked ? asked : fake.pinned_m;
  (void)s;
  (void)p;
  (void)t;
  *out = (Sched){.bm = 128, .bn = 64, .stages = 2, .warps = 4};
  *source = "model";
  if (asked % 16)
    return err_set(e, ATTNC_ERR_UNSUPPORTED, "block_m %d is not a multiple of 16", asked);
  if (m) {
    out->bm = m;
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
sched_check(const Schedule *s, attnc_error *e)
{
  return strcmp(s->template_name, "fake")
             ? err_set(e, ATTNC_ERR_UNSUPPORTED, "there is no template '%s'",
                       s->template_name)
             : ATTNC_OK;
}

Schedule
sched_named(const Sched *s)
{
  Schedule x = {.template_name = "fake"};
  const int v[SCHED_COMMON] = {s->bm, s->bn, s->stages, s->warps};
  for (int i = 0; i < SCHED_COMMON; i++) {
    char text[SCHED_VALUE];
    sched_text(&sched_common[i], v[i], text);
    sched_set(&x, sched_common[i].name, text);
  }
  sched_set(&x, "q_in_regs", "false");
  return x;
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
gen_ptx_version(const Target *t, const Sched *s)
{
  (void)s;
  return t->ptx;
}

const char *
gen_options(const Sched *s)
{
  (void)s;
  return fake.revision ? "level 3" : "level 2";
}

/* ---- compiling ---- */

attnc_status
gen_compile(const Spec *s, const ProblemCopy *p, const Target *target, const Sched *sched,
            const attnc_compile_options *o, attnc_kernel **out, attnc_error *e)
{
  (void)p;
  (void)target;
  (void)sched;
  __atomic_add_fetch(&fake.compiles, 1, __ATOMIC_RELAXED);
  nanosleep(&(struct timespec){.tv_sec = fake.delay_ms / 1000,
                               .tv_nsec = fake.delay_ms % 1000 * 1000000L},
            NULL);
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
sched_complete(const Schedule *s)
{
  return *s->template_name && s->n == SCHED_COMMON + 1;
}
