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
#include "tests/e2e/pick.h"
#include "tests/e2e/run.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const everyday[] = {
    "bf16 h1 sq512 sk512 d64 causal fwd_mma",
    "fp16 h1 sq512 sk512 d128 causal fwd_mma",
    "bf16 h1 sq512 sk512 d80/64 causal fwd_mma",
};
static const char *const slow[] = {"bf16 h1 sq4096 sk4096 d64 causal fwd_mma"};

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

static bool
tiles(const Trial *t, const char *notation, const Classes *c)
{
  char yaml[512];
  attnc_spec *spec = NULL;
  attnc_tile_counts got = {.size = sizeof got};
  const attnc_sizes sizes = trial_sizes(t);
  trial_spec(t, yaml, sizeof yaml);
  bool ok = !attnc_spec_load(yaml, strlen(yaml), "causal", &spec, NULL) &&
            !attnc_tiles(spec, &sizes, t->how.block_m, t->how.block_n, &got, NULL, 0, NULL);
  attnc_spec_release(spec);
  ok = equal(notation, "EMPTY tiles", ok ? got.empty : -1, c->empty) && ok;
  ok = equal(notation, "PARTIAL tiles", got.partial, c->partial) && ok;
  return equal(notation, "FULL tiles", got.full, c->full) && ok;
}

/* Products of one tile, whatever its warps: (bm/16) (bn/8) steps of 16 along d, and
 * (bm/16) (dv/8) steps along bn. */
static int64_t
mma_of_tile(const Trial *t)
{
  int64_t m = t->how.block_m / 16, d16 = (t->d + 15) / 16;
  return m * (t->how.block_n / 8) * d16 + m * ((t->dv + 7) / 8) * (t->how.block_n / 16);
}

static bool
one(const char *words)
{
  Session s;
  Trial t;
  char why[2400] = "", notation[TRIAL_TEXT];
  if (!trial_parse(words, &t, why, sizeof why) || !pick_schedule(&t, why, sizeof why) ||
      !session_open(&s, device_emulator(), trial_target(&t), why, sizeof why)) {
    printf("FAIL  %s: %s\n", words, why);
    return false;
  }
  trial_print(&t, notation);
  s.device.reset();
  bool ok = run_trial(&s, &t, why, sizeof why) == RUN_PASS;
  if (!ok)
    printf("FAIL  %s: %s\n", notation, why);
  attncEmuStats stats = {.size = sizeof stats};
  s.device.stats(&stats);
  const Classes c = closed_form(t.sq, t.how.block_m, t.how.block_n);
  ok = tiles(&t, notation, &c) && ok;
  ok = equal(notation, "mma", (int64_t)stats.mma, (c.partial + c.full) * mma_of_tile(&t)) &&
       ok;
  ok = equal(notation, "selects of -inf", executed(&s.device, "selp", "0fFF800000"),
             c.partial * t.how.block_m * t.how.block_n / 32) &&
       ok;
  if (ok)
    printf("ok    %s: %lld empty, %lld partial, %lld full, %llu mma\n", notation,
           (long long)c.empty, (long long)c.partial, (long long)c.full,
           (unsigned long long)stats.mma);
  session_close(&s);
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
