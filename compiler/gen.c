/* The stages of a compile, in order, and the one place where a fault of a template or an
 * exhausted arena is caught. */
#include "compiler/gen.h"

#include "base/err.h"
#include "base/hash.h"
#include "code_id.h"
#include "compiler/backend.h"
#include "compiler/kernel.h"
#include "compiler/spec/signature.h"
#include "compiler/tile/tile_prog.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

const char *const gen_code_id = ATTNC_CODE_ID;
const char *const gen_llvm_version = ATTNC_LLVM_VERSION;

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
  (void)s; /* no template uses more than its target's first PTX version has */
  return target->ptx;
}

static double
now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

typedef struct Gen {
  const GenRequest *req;
  attnc_kernel *k;
  attnc_error *err;
  Arena *arena;
  jmp_buf fail;
  Tb *tb;
  Mark mark;
} Gen;

static void
keep(Gen *g, Dump d, const char *text)
{
  if (g->req->dumps & (1u << d))
    g->k->dump[d] = text;
}

/* ---- the call's tensors, sizes and constants, as the words see them ---- */

_Static_assert((int)SPECIALIZE_STRIDES == SIZE_COUNT, "sizes have one order");

static void
specialise(Gen *g)
{
  const Spec *s = g->req->spec;
  const Signature *call = s->call[ATTNC_OP_FWD];
  Tb *t = g->tb;
  for (int i = 0; i < SIZE_COUNT; i++)
    if (spec_specializes(s, (Specialize)i))
      t->known[i] = size_get(&g->req->problem->sizes, (SizeId)i);
  if (spec_specializes(s, SPECIALIZE_STRIDES))
    t->strides = g->req->problem->tensors;
  t->scalars = 0;
  for (int i = 0; i < call->n_scalars; i++) {
    const SignatureScalar *x = &call->scalars[i];
    t->scalars |= 1u << x->slot;
    if (x->constant)
      t->prog->scalar[x->slot] = x->initial;
  }
}

static Idx
axis(Tb *t, const CallAxis *a)
{
  return a->n ? i_int(a->n) : tile_size(t, a->size);
}

static void
pack(Tb *t, const CallTensor *c, Tensor *x)
{
  Idx step = axis(t, &c->axes[2]);
  x->stride[2] = i_int(1);
  x->stride[1] = step;
  x->stride[0] = i_mul64(axis(t, &c->axes[1]), step);
}

/* Axes are b, heads, rows and, unless a row has one element, its elements. */
static const Tensor *
tensor(Tb *t, const CallTensor *c)
{
  Tensor *x = NEW(t->arena, Tensor);
  *x = (Tensor){.name = c->name,
                .slot = c->slot,
                .ty = c->dtype,
                .cols = c->n_axes > 3 ? (int)c->axes[3].n : 1,
                .rows = axis(t, &c->axes[2])};
  tile_param(t, PARAM_TENSOR, c->slot, 0);
  if (c->contiguous)
    pack(t, c, x);
  for (int i = 0; !c->contiguous && i < 3; i++)
    x->stride[i] = tile_stride(t, c->slot, i);
  return x;
}

Fwd
gen_forward(Tb *t, const Spec *s)
{
  const Signature *call = s->call[ATTNC_OP_FWD];
  Fwd f = {.spec = s, .d = s->head_dim, .dv = s->head_dim_v, .dt = s->dtype[ATTNC_Q]};
  f.h = tile_size(t, SIZE_H);
  f.hk = tile_size(t, SIZE_HK);
  f.sq = tile_size(t, SIZE_SQ);
  f.sk = tile_size(t, SIZE_SK);
  for (int i = 0; i < call->n_tensors; i++)
    f.at[call->tensors[i].slot] = tensor(t, &call->tensors[i]);
  f.q = f.at[ATTNC_Q];
  f.k = f.at[ATTNC_K];
  f.v = f.at[ATTNC_V];
  f.o = f.at[ATTNC_O];
  f.lse = f.at[ATTNC_LSE];
  f.mask = (Mask){.band = spec_band(s), .sq = f.sq, .sk = f.sk};
  return f;
}

/* ---- stages ---- */

static void
dump_spans(Gen *g, const Fwd *f)
{
  if (!(g->req->dumps & (1u << DUMP_SPANS)))
    return;
  Str s = str_new(g->arena);
  Idx q0 = i_mul(i_cta(g->tb, 0), g->req->sched.bm);
  Walk w = w_keys(&f->mask, q0, g->req->sched.bm, g->req->sched.bn);
  tile_print_spans(g->tb->prog, &w, &s);
  keep(g, DUMP_SPANS, s.p);
}

static void
tile_stage(Gen *g)
{
  const GenRequest *r = g->req;
  g->tb = tile_new(g->arena, &g->fail, g->err, r->target, r->sched.warps);
  Program *p = g->tb->prog;
  p->entry = arena_printf(g->arena, "attnc_%s_%s", r->sched.tmpl->name, r->target->name);
  specialise(g);
  Fwd f = gen_forward(g->tb, r->spec);
  r->sched.tmpl->emit(g->tb, &f, &r->sched);
  tile_plan(g->tb);
  tile_verify(g->tb);
  if (r->dumps & (1u << DUMP_TILE)) {
    Str s = str_new(g->arena);
    tile_print(p, &s);
    keep(g, DUMP_TILE, s.p);
  }
  dump_spans(g, &f);
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
  return kernel_check(g->arena, g->tb->prog, &pair, g->err);
}

static attnc_status
llvm_stage(Gen *g)
{
  const GenRequest *r = g->req;
  attnc_kernel *k = g->k;
  LlvmRequest q = {
      .prog = g->tb->prog, .ll = r->from_ll, .target = r->target, .ptx = r->ptx};
  LlvmResult out;
  const LlvmModule *m;
  double t0 = now();
  TRY(backend_open(&m, g->err));
  k->seconds[TIME_LOAD] = now() - t0;
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
  double t0 = now();
  dump_front(g);
  tile_stage(g);
  k->seconds[TIME_FRONT] = r->front;
  k->seconds[TIME_TILE] = now() - t0;
  g->mark = kernel_mark(g->arena, r, g->tb->prog);
  TRY(check_entered(g));
  if (r->from_ptx)
    k->ptx = arena_strdup(g->arena, r->from_ptx);
  else
    TRY(llvm_stage(g));
  k->ptx_bytes = strlen(k->ptx);
  TRY(check_entry(g));
  keep(g, DUMP_PTX, k->ptx);
  k->json = kernel_json(g->arena, r, g->tb->prog, g->mark.hash, k->ptx, k->ptx_bytes);
  k->seconds[TIME_TOTAL] = r->front + now() - t0 - k->seconds[TIME_LOAD];
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
