/* The stages of a compile, in order, and the one place where a fault of a template or an
 * exhausted arena is caught. */
#include "compiler/gen.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "compiler/backend.h"
#include "compiler/kernel.h"
#include "compiler/tile/tile_prog.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* As fast as O2 on what the lowering writes, 30–50 ms sooner: it hoists by itself. */
static const char passes[] =
    "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg)";

const char *const dump_names[DUMP_COUNT] = {
#define X(id, name, text) name,
    DUMP_TABLE(X)
#undef X
};

const char *
gen_options(const Sched *s)
{
  static const char *const level[] = {"level 0; early-cse,instcombine,simplifycfg",
                                      "level 1; early-cse,instcombine,simplifycfg",
                                      "level 2; early-cse,instcombine,simplifycfg",
                                      "level 3; early-cse,instcombine,simplifycfg"};
  return level[s->tmpl->codegen_level];
}

int
gen_ptx_version(const Target *target, const Sched *s)
{
  int wish = s->tmpl->ptx ? s->tmpl->ptx(target, s) : 0;
  return wish > target->ptx ? wish : target->ptx;
}

typedef struct Gen {
  const GenRequest *req;
  attnc_kernel *k;
  attnc_error *err;
  Arena *arena;
  jmp_buf fail;
  const Kernel *kernel;
  Mark mark;
} Gen;

static void
keep(Gen *g, Dump d, const char *text)
{
  if (g->req->dumps & (1u << d))
    g->k->dump[d] = text;
}

/* ---- stages ---- */

static void
dump_tile(Gen *g)
{
  if (!(g->req->dumps & (1u << DUMP_TILE)))
    return;
  Str s = str_new(g->arena);
  for (int i = 0; i < g->kernel->entries.n; i++)
    tile_print(g->kernel->entries.at[i]->prog, &s);
  keep(g, DUMP_TILE, s.p);
}

/* Of the first entry that walks over keys: the last that looks at its program. */
static void
dump_spans(Gen *g)
{
  const Sched *s = &g->req->sched;
  if (!(g->req->dumps & (1u << DUMP_SPANS)))
    return;
  for (int i = 0; i < g->kernel->entries.n; i++) {
    Tb *t = g->kernel->entries.at[i];
    if (!t->call)
      continue;
    Str text = str_new(g->arena);
    WalkRows rows = {.q0 = i_mul(i_cta(t, 0), s->bm), .n = s->bm};
    Walk w = w_keys(t, &t->call->mask, &rows, s->bn);
    tile_print_spans(t->prog, &w, &text);
    keep(g, DUMP_SPANS, text.p);
    return;
  }
}

static void
tile_stage(Gen *g)
{
  const GenRequest *r = g->req;
  BuildArgs a = {.arena = g->arena,
                 .fail = &g->fail,
                 .err = g->err,
                 .name = r->sched.tmpl->name,
                 .target = r->target,
                 .spec = r->spec,
                 .op = r->sched.tmpl->op,
                 .problem = r->problem};
  Build *b = build_new(&a);
  r->sched.tmpl->emit(b, b->call, &r->sched);
  g->kernel = build_kernel(b);
  dump_tile(g);
  dump_spans(g);
}

static void
dump_front(Gen *g)
{
  const GenRequest *r = g->req;
  keep(g, DUMP_SPEC, arena_strdup(g->arena, r->spec->canonical));
  if (r->dumps & (1u << DUMP_SCHED)) {
    Str s = str_new(g->arena);
    r->sched.tmpl->print(&r->sched, &s);
    str_put(&s, "\n");
    keep(g, DUMP_SCHED, s.p);
  }
}

static const char *
marked(Gen *g, const char *sign, const char *text)
{
  return arena_printf(g->arena, "%s " PTX_MARK_LINE "\n%s", sign, g->mark.hash, g->mark.how,
                      text);
}

/* A text that the caller has is this recipe's, or nothing is made of it. */
static attnc_status
check_entered(Gen *g)
{
  const GenRequest *r = g->req;
  const char *text = r->from_ptx ? r->from_ptx : r->from_ll;
  PtxPair pair = {.text = text,
                  .what = r->from_ptx ? "the PTX given" : "the LLVM IR given",
                  .bad = ATTNC_ERR_USAGE};
  return text ? ptx_check_mark(&pair, g->mark.hash, g->err) : ATTNC_OK;
}

static attnc_status
check_entry(Gen *g)
{
  const GenRequest *r = g->req;
  PtxPair pair = {.text = g->k->ptx, .what = "the PTX made", .bad = ATTNC_ERR_INTERNAL};
  if (r->from_ptx || r->from_ll) {
    pair.what = r->from_ptx ? "the PTX given" : "the PTX of the LLVM IR given";
    pair.bad = ATTNC_ERR_USAGE;
  }
  return kernel_check(g->arena, g->kernel, &pair, g->err);
}

static attnc_status
llvm_stage(Gen *g)
{
  const GenRequest *r = g->req;
  attnc_kernel *k = g->k;
  int n = g->kernel->entries.n;
  const Program **progs = NEW_N(g->arena, const Program *, n);
  for (int i = 0; i < n; i++)
    progs[i] = g->kernel->entries.at[i]->prog;
  LlvmRequest q = {
      .progs = progs, .n = n, .ll = r->from_ll, .target = r->target, .ptx = r->ptx};
  LlvmResult out;
  const LlvmModule *m;
  double t0 = clock_seconds();
  TRY(backend_open(&m, g->err));
  k->seconds[TIME_LOAD] = clock_seconds() - t0;
  q.level = r->sched.tmpl->codegen_level;
  q.passes = passes;
  q.keep_ll = r->dumps & (1u << DUMP_LL);
  q.keep_opt = r->dumps & (1u << DUMP_OPT);
  TRY(backend_compile(m, &q, &out, g->err));
  k->ptx = marked(g, "//", out.ptx);
  k->seconds[TIME_LOWER] = out.lower;
  k->seconds[TIME_PASSES] = out.passes;
  k->seconds[TIME_CODEGEN] = out.codegen;
  if (out.ll)
    keep(g, DUMP_LL, marked(g, ";", out.ll));
  if (out.opt)
    keep(g, DUMP_OPT, marked(g, ";", out.opt));
  m->release(&out);
  return ATTNC_OK;
}

static attnc_status
stages(Gen *g)
{
  const GenRequest *r = g->req;
  attnc_kernel *k = g->k;
  double t0 = clock_seconds();
  dump_front(g);
  tile_stage(g);
  k->seconds[TIME_FRONT] = r->front;
  k->seconds[TIME_TILE] = clock_seconds() - t0;
  g->mark = kernel_mark(g->arena, r, g->kernel);
  TRY(check_entered(g));
  if (r->from_ptx)
    k->ptx = arena_strdup(g->arena, r->from_ptx);
  else
    TRY(llvm_stage(g));
  k->ptx_bytes = strlen(k->ptx);
  TRY(check_entry(g));
  keep(g, DUMP_PTX, k->ptx);
  k->json = kernel_json(g->arena, r, g->kernel, g->mark.hash, k->ptx, k->ptx_bytes);
  k->seconds[TIME_TOTAL] = r->front + clock_seconds() - t0 - k->seconds[TIME_LOAD];
  return ATTNC_OK;
}

attnc_status
gen_kernel(const GenRequest *req, attnc_kernel **out, attnc_error *err)
{
  Arena *arena = arena_new(256u << 20);
  attnc_kernel *k = arena ? NEW(arena, attnc_kernel) : NULL;
  Gen *g = k ? NEW(arena, Gen) : NULL;
  *out = NULL;
  if (!g) {
    arena_free(arena);
    return err_set(err, ATTNC_ERR_NOMEM, "arena of a compile");
  }
  k->arena = g->arena = arena;
  *g = (Gen){.req = req, .k = k, .err = err, .arena = arena};
  arena_catch(arena, &g->fail);
  attnc_status s;
  switch (setjmp(g->fail)) {
  case 0:
    s = stages(g);
    break;
  case 1:
    s = err_set(err, ATTNC_ERR_NOMEM, "the compile needs more than 256 MiB");
    break;
  default:
    s = ATTNC_ERR_INTERNAL; /* t_fail filled err */
  }
  arena_catch(arena, NULL);
  if (s != ATTNC_OK) {
    arena_free(arena);
    return s;
  }
  *out = k;
  return ATTNC_OK;
}
