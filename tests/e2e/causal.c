/* causal: a causal kernel runs the tiles that it must and masks those that it must.
 *
 *   e2e_causal [--all]
 *
 * For S queries on S keys the classes have a closed form: in the row of query tiles that
 * begins at q0, tiles up to the diagonal are FULL (last key <= q0), those that it crosses
 * PARTIAL, the rest EMPTY.  Compared with it: attnc_tiles; executed mma.sync, which a
 * kernel that loads an EMPTY tile exceeds; executed selects of -inf, which a kernel that
 * masks a FULL tile exceeds.  Everyday S = 512; --all adds S = 4096. */
#include "tests/e2e/call.h"
#include "tests/e2e/run.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const everyday[] = {
    "{dtype: bf16, head_dim: 64, causal: true, return_lse: true} sq512 sk512 "
    "template=fwd_mma,block_m=64,block_n=64,num_stages=2,num_warps=4,q_in_regs=true",
    "{dtype: fp16, head_dim: 128, causal: true, return_lse: true} sq512 sk512 "
    "template=fwd_mma,block_m=128,block_n=32,num_stages=2,num_warps=8,q_in_regs=false",
    "{dtype: bf16, head_dim: 80, head_dim_v: 64, causal: true, return_lse: true} sq512 "
    "sk512 template=fwd_mma,block_m=64,block_n=64,num_stages=1,num_warps=4,q_in_regs=false",
};
static const char *const slow[] = {
    "{dtype: bf16, head_dim: 64, causal: true, return_lse: true} sq4096 sk4096 "
    "template=fwd_mma,block_m=128,block_n=64,num_stages=2,num_warps=8,q_in_regs=true",
};

typedef struct Classes {
  int64_t empty, partial, full;
} Classes;

static Classes
closed_form(int64_t s, int64_t bm, int64_t bn)
{
  Classes c = {0};
  for (int64_t q0 = 0; q0 < s; q0 += bm)
    for (int64_t k0 = 0; k0 < s; k0 += bn) {
      int64_t last_q = q0 + bm < s ? q0 + bm - 1 : s - 1;
      int64_t last_k = k0 + bn < s ? k0 + bn - 1 : s - 1;
      if (k0 > last_q)
        c.empty++;
      else if (last_k <= q0)
        c.full++;
      else
        c.partial++;
    }
  return c;
}

/* Executed warp instructions whose text has both words, from the emulator's profile. */
static int64_t
executed(const Device *d, const char *first, const char *second)
{
  size_t n = d->profile(NULL, 0);
  char *text = malloc(n + 1);
  int64_t sum = 0;
  if (!text)
    return -1;
  d->profile(text, n + 1);
  json_t *list = json_loads(text, 0, NULL), *o;
  size_t i;
  json_array_foreach(list, i, o)
  {
    const char *s = json_string_value(json_object_get(o, "text"));
    if (s && strstr(s, first) && strstr(s, second))
      sum += json_integer_value(json_object_get(o, "count"));
  }
  free(text);
  sum = list ? sum : -1;
  json_decref(list);
  return sum;
}

static bool
equal(const char *notation, const char *what, int64_t got, int64_t want)
{
  if (got == want)
    return true;
  printf("FAIL  %s: %s: %lld, the closed form says %lld\n", notation, what, (long long)got,
         (long long)want);
  return false;
}

/* The blocks that the case pins, and its head dims. */
typedef struct Blocks {
  int64_t m, n, d, dv;
} Blocks;

static bool
tiles(const Case *c, attnc_spec *spec, const Blocks *k, const Classes *want)
{
  attnc_tile_counts got = {.size = sizeof got};
  bool ok = !attnc_tiles(spec, &c->sizes, (int)k->m, (int)k->n, &got, NULL, 0, NULL);
  ok = equal(c->text, "EMPTY tiles", ok ? got.empty : -1, want->empty) && ok;
  ok = equal(c->text, "PARTIAL tiles", got.partial, want->partial) && ok;
  return equal(c->text, "FULL tiles", got.full, want->full) && ok;
}

/* Products of one tile, whatever its warps: (bm/16) (bn/8) steps of 16 along d, and
 * (bm/16) (dv/8) steps along bn. */
static int64_t
mma_of_tile(const Blocks *k)
{
  int64_t m = k->m / 16, d16 = (k->d + 15) / 16;
  return m * (k->n / 8) * d16 + m * ((k->dv + 7) / 8) * (k->n / 16);
}

/* What the case has run on the session's device. */
static bool
counts(Session *s, const Case *c, attnc_spec *spec, const Blocks *k)
{
  attncEmuStats stats = {.size = sizeof stats};
  const Classes want = closed_form(c->sizes.sq, k->m, k->n);
  s->device.stats(&stats);
  bool ok = tiles(c, spec, k, &want);
  ok = equal(c->text, "mma", (int64_t)stats.mma,
             (want.partial + want.full) * mma_of_tile(k)) &&
       ok;
  ok = equal(c->text, "selects of -inf", executed(&s->device, "selp", "0fFF800000"),
             want.partial * k->m * k->n / 32) &&
       ok;
  if (ok)
    printf("ok    %s: %lld empty, %lld partial, %lld full, %llu mma\n", c->text,
           (long long)want.empty, (long long)want.partial, (long long)want.full,
           (unsigned long long)stats.mma);
  return ok;
}

static bool
one(const char *words)
{
  Session s;
  Case c;
  Facts f;
  attnc_spec *spec = NULL;
  char why[2400] = "";
  if (!case_parse(words, &c, why, sizeof why) ||
      attnc_spec_load(c.spec, strlen(c.spec), "causal", &spec, NULL) ||
      !facts_read(spec, &f) ||
      !session_open(&s, device_emulator(), c.target, why, sizeof why)) {
    printf("FAIL  %s: %s\n", words, why);
    return false;
  }
  const Blocks k = {case_pinned(&c, "block_m"), case_pinned(&c, "block_n"), f.d, f.dv};
  s.device.reset();
  bool ok = run_case(&s, &c, why, sizeof why) == RUN_PASS;
  if (!ok)
    printf("FAIL  %s: %s\n", c.text, why);
  ok = counts(&s, &c, spec, &k) && ok;
  session_close(&s);
  attnc_spec_release(spec);
  return ok;
}

int
main(int argc, char **argv)
{
  bool all = argc == 2 && strcmp(argv[1], "--all") == 0;
  int bad = 0;
  if (argc > 1 && !all)
    return fprintf(stderr, "usage: e2e_causal [--all]\n"), 2;
  for (size_t i = 0; i < sizeof everyday / sizeof everyday[0]; i++)
    bad += !one(everyday[i]);
  for (size_t i = 0; all && i < sizeof slow / sizeof slow[0]; i++)
    bad += !one(slow[i]);
  return bad != 0;
}
