/* gate_job.c: one kernel: compiled, assembled, counted. */
#include "tests/e2e/gate.h"

#include "cli/cli.h"
#include "sass/ptxas.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
count_part(const SassCounts *c, Part *p)
{
  const int n[COLUMNS] = {
#define X(name, expression) expression,
      COLUMN_TABLE(X)
#undef X
  };
  p->all = c->total;
  memcpy(p->n, n, sizeof n);
}

static void
broken(Result *r, const char *what, const char *more)
{
  r->outcome = BROKEN;
  snprintf(r->why, sizeof r->why, "%s%.*s", what, (int)strcspn(more, "\n"), more);
}

static int
whole(const json_t *o, const char *key)
{
  return (int)json_integer_value(json_object_get(o, key));
}

/* One word: "fwd_mma:128x64:w4:s2:qreg". */
static void
take_schedule(const char *recipe, Arena *arena, Result *r)
{
  json_t *o = json_loads(recipe, 0, NULL), *s = recipe_schedule(o);
  snprintf(r->schedule, sizeof r->schedule, "%s", schedule_text(s, arena));
  for (char *p = r->schedule; *p; p++)
    *p = *p == ' ' ? ':' : *p;
  r->block_n = whole(s, "block_n");
  r->num_warps = whole(s, "num_warps");
  json_decref(o);
}

/* The shortest way through it, a FULL tile's, and all of it. */
static void
count_loop(const SassLoop *l, Result *r)
{
  if (r->n_parts + 2 > PARTS_MAX)
    return;
  count_part(&l->path, &r->parts[r->n_parts++]);
  count_part(&l->counts, &r->parts[r->n_parts++]);
}

/* Of several entries the longest, which has the products. */
static const CubinKernel *
longest(const Cubin *c)
{
  const CubinKernel *most = c->kernels;
  for (int i = 1; i < c->n; i++)
    most = c->kernels[i].n > most->n ? &c->kernels[i] : most;
  return most;
}

static void
count(const Assembled *a, Arena *arena, Result *r)
{
  Cubin c;
  Sass s;
  attnc_error e = {0};
  if (cubin_read(a->cubin, a->bytes, arena, &c, &e) || c.n < 1 ||
      sass_read(longest(&c), c.sm, arena, &s, &e)) {
    broken(r, "its machine code is not understood: ", e.message);
    return;
  }
  count_part(&s.counts, &r->parts[r->n_parts++]);
  for (int i = 0; i < s.n_loops; i++)
    if (s.loops[i].main)
      count_loop(&s.loops[i], r);
}

static void
assemble_it(const Job *j, const char *ptx, size_t n, Arena *arena, Result *r)
{
  Assembled a;
  attnc_error e = {0};
  if (ptxas_run(ptx, n, j->target, arena, &a, &e)) {
    broken(r, "ptxas refuses it: ", e.message);
    return;
  }
  const char *remark = ptxas_remark(a.log, 0, arena);
  r->regs = a.registers;
  r->spills = a.spill_stores + a.spill_loads;
  r->stack = a.stack;
  snprintf(r->why, sizeof r->why, "%s", remark ? remark : "");
  if (!strstr(a.log, " registers") || !strstr(a.log, " bytes spill stores"))
    broken(r, "ptxas -v says no registers or spills: ", a.log);
  else
    count(&a, arena, r);
  free(a.cubin);
}

/* ptxas 13.0 spills a few bytes now and then so that one block more fits a multiprocessor.
 * Told that one is enough, what does it spill?  −1: it does not take the text. */
static int
spills_of_one_block(const Job *j, const char *ptx, Arena *arena)
{
  static const char how[] = ".minnctapersm 1\n";
  Assembled a;
  attnc_error e = {0};
  const char *at, *from = ptx;
  Str text = str_new(arena);
  for (; (at = strstr(from, ".reqntid")) && (at = strchr(at, '\n')); from = at + 1)
    str_printf(&text, "%.*s%s", (int)(at + 1 - from), from, how);
  if (from == ptx)
    return -1;
  str_put(&text, from);
  if (ptxas_run(text.p, text.n, j->target, arena, &a, &e))
    return -1;
  free(a.cubin);
  return a.spill_stores + a.spill_loads;
}

/* FNV-1a */
static uint64_t
hash(uint64_t h, const char *text, size_t n)
{
  for (size_t i = 0; i < n; i++)
    h = (h ^ (unsigned char)text[i]) * 1099511628211u;
  return h;
}

/* What ptxas said of the same text. */
static void
copy_verdict(const Result *from, Result *r)
{
  r->outcome = from->outcome;
  r->regs = from->regs;
  r->spills = from->spills;
  r->least_spills = from->least_spills;
  r->stack = from->stack;
  r->n_parts = from->n_parts;
  memcpy(r->why, from->why, sizeof r->why);
  memcpy(r->parts, from->parts, sizeof r->parts);
}

static void
take_text(const Job *j, const char *ptx, size_t n, Result *r)
{
  for (size_t i = 0; i < n; i++)
    r->lines += ptx[i] == '\n';
  r->text = hash(hash(14695981039346656037u, j->target, strlen(j->target)), ptx, n) | 1;
}

void
gate_job(const Job *j, bool assemble, GateKnown *known, const void *user, Result *r)
{
  attnc_kernel *k = NULL;
  attnc_error e = {0};
  size_t bytes = 0;
  *r = (Result){.regs = -1, .spills = -1, .head_dim = j->spec->head_dim};
  attnc_status st = attnc_compile(j->what, j->problem, j->target,
                                  j->pinned ? &j->schedule : NULL, &k, &e);
  if (st) {
    broken(r, "does not compile: ", e.message);
    if (st == ATTNC_ERR_UNSUPPORTED && j->pinned)
      r->outcome = ILLEGAL;
    return;
  }
  Arena *arena = arena_new(0);
  const char *ptx = attnc_kernel_ptx(k, &bytes);
  take_schedule(attnc_kernel_json(k), arena, r);
  take_text(j, ptx, bytes, r);
  const Result *same = known && assemble ? known(user, r->text) : NULL;
  if (same)
    copy_verdict(same, r);
  else if (assemble)
    assemble_it(j, ptx, bytes, arena, r);
  if (assemble && !same && r->spills > 0)
    r->least_spills = spills_of_one_block(j, ptx, arena);
  if (r->outcome == PENDING)
    r->outcome = DONE;
  arena_free(arena);
  attnc_kernel_release(k);
}
