/* fault_injection: can a case of the matrix fail?  Kernels that are wrong in one place must
 * be refused, and for the right reason: another mask by one key, another scale, a store
 * that is lost, doubled or shifted, a function that is not the one. */
#include "tests/e2e/call.h"
#include "tests/e2e/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char plain[] =
    "template=ref_fwd,block_m=4,block_n=1,num_stages=1,num_warps=4,q_in_regs=false";

/* A case, and the case whose kernel runs in its place. */
static const struct {
  const char *right, *other;
} swaps[] = {
    {"{dtype: fp16, head_dim: 64, causal: true, return_lse: true} sq70 sk90",
     "{dtype: fp16, head_dim: 64, return_lse: true} sq70 sk90"},
    {"{dtype: fp16, head_dim: 64, causal: true, return_lse: true} sq70 sk90",
     "{dtype: fp16, head_dim: 64, causal: true, align: top_left, return_lse: true} sq70 "
     "sk90"},
    {"{dtype: fp16, head_dim: 64, causal: true, return_lse: true} sq90 sk90",
     "{dtype: fp16, head_dim: 64, window: [-1, 1], return_lse: true} sq90 sk90"},
    {"{dtype: fp16, head_dim: 64, window: [31, 0], return_lse: true} sq90 sk90",
     "{dtype: fp16, head_dim: 64, window: [30, 0], return_lse: true} sq90 sk90"},
    {"{dtype: fp16, head_dim: 64, window: [31, 0], return_lse: true} sq90 sk90",
     "{dtype: fp16, head_dim: 64, window: [32, 0], return_lse: true} sq90 sk90"},
    {"{dtype: fp16, head_dim: 64, window: [-1, 7], return_lse: true} sq90 sk90",
     "{dtype: fp16, head_dim: 64, window: [-1, 8], return_lse: true} sq90 sk90"},
    {"{dtype: fp16, head_dim: 64, return_lse: true, specialize: [sq, sk]} sq40 sk90",
     "{dtype: fp16, head_dim: 64, return_lse: true, specialize: [sq, sk]} sq40 sk89"},
    {"{dtype: fp16, head_dim: 64, return_lse: true, softmax_scale: 0.078125, specialize: "
     "[b, h, hk, sq, sk, strides, softmax_scale]} sq40 sk90",
     "{dtype: fp16, head_dim: 64, return_lse: true, specialize: [b, h, hk, sq, sk, "
     "strides, softmax_scale]} sq40 sk90"},
    {"{dtype: fp16, head_dim: 64, return_lse: true, specialize: [b, h, hk, sq, sk, "
     "strides]} h4/2 sq40 sk90",
     "{dtype: fp16, head_dim: 64, return_lse: true, specialize: [b, h, hk, sq, sk, "
     "strides]} h4/1 sq40 sk90"},
    {"{dtype: fp16, head_dim: 64, return_lse: true, specialize: [b, h, hk, sq, sk, "
     "strides]} b2 h2 sq40 sk50 padded",
     "{dtype: fp16, head_dim: 64, return_lse: true, specialize: [b, h, hk, sq, sk, "
     "strides]} b2 h2 sq40 sk50"},
    {"{dtype: fp16, head_dim: 64, causal: true, block_list: {block: [64, 64]}} h2 sq200 "
     "sk300",
     "{dtype: fp16, head_dim: 64, block_list: {block: [64, 64]}} h2 sq200 sk300"},
    {"{dtype: fp16, head_dim: 64, block_list: {block: [64, 64]}} h2 sq200 sk300",
     "{dtype: fp16, head_dim: 64, block_list: {block: [64, 32]}} h2 sq200 sk300"},
    {"{dtype: fp16, head_dim: 64, block_list: {block: [64, 64]}} h2 sq200 sk300 "
     "template=fwd_mma,block_m=32,block_n=32,num_stages=1,num_warps=2,q_in_regs=false",
     "{dtype: fp16, head_dim: 64, block_list: {block: [32, 64]}} h2 sq200 sk300 "
     "template=fwd_mma,block_m=32,block_n=32,num_stages=1,num_warps=2,q_in_regs=false"},
};

/* Changes to the text of a kernel: its n-th statement, from 0, that begins with `find` (and
 * has `from` in it), to which `put` happens, and what the run must say. */
typedef enum Put { PUT_AWAY, PUT_TWICE, PUT_WORD } Put;
typedef struct Change {
  const char *find;
  Put put;
  const char *from, *to, *says;
  int n;
} Change;
static const Change changes[] = {
    {"@p st.global.v4.b32 [", PUT_AWAY, NULL, NULL, "was not written", 0},
    {"@p st.global.f32 [", PUT_AWAY, NULL, NULL, "lse[b0, h0, s0, d0] was not written", 0},
    {"@p st.global.v4.b32 [", PUT_TWICE, "+0]", "+16]", "from the start of o was written",
     0},
    {"mul.rn.ftz.f32", PUT_WORD, "0f3F317218", "0f3F320000", "lse",
     0}, /* ln 2, not quite */
    {"ex2.approx.ftz.f32", PUT_WORD, "ex2", "lg2", "wrong", 0},
    {"setp.lt.s32", PUT_WORD, "setp.lt.s32", "setp.bad.s32", "attnc_plan_get", 0},
};
static const char changed[] =
    "{dtype: fp16, head_dim: 64, causal: true, return_lse: true}"
    " b2 h2/1 sq20 sk30 padded "
    "template=ref_fwd,block_m=4,block_n=1,num_stages=1,num_warps=4,q_in_regs=false seed=2";

/* Of a walk of listed blocks, in the order of the kernel: how many blocks are whole, and
 * how many in part; the first 32 entries of either list; which of them are blocks; the
 * next. */
static const Change listed_changes[] = {
    {"@p ld.global.nc.b32", PUT_AWAY, NULL, NULL, "wrong", 0},
    {"@p ld.global.nc.b32", PUT_AWAY, NULL, NULL, "wrong", 1},
    {"@p ld.global.nc.b32", PUT_AWAY, NULL, NULL, "wrong", 2},
    {"@p ld.global.nc.b32", PUT_AWAY, NULL, NULL, "wrong", 3},
    {"vote.sync.ballot.b32", PUT_WORD, "p, -1", "!p, -1", "", 0},
    {"shfl.sync.idx.b32", PUT_WORD, "31, -1", "0, -1", "", 0},
};
static const char listed[] =
    "{dtype: fp16, head_dim: 64, causal: true, block_list: {block: [32, 32]}, return_lse: "
    "true} h2 sq130 sk200 "
    "template=fwd_mma,block_m=32,block_n=32,num_stages=2,num_warps=2,q_in_regs=false "
    "seed=2";

/* `text` with one word replaced in the statement; malloc'd, NULL if it is not there. */
static char *
inject(const char *text, const Change *c)
{
  const char *from = c->from;
  int skip = c->n;
  for (const char *s = strstr(text, c->find); s; s = strstr(s + 1, c->find)) {
    size_t n = strcspn(s, ";") + 1, before = (size_t)(s - text);
    const char *word = from ? strstr(s, from) : s;
    if (!word || word >= s + n || skip-- > 0)
      continue;
    char *out = malloc(strlen(text) + 2 * n + 64);
    if (!out)
      return NULL;
    int at = sprintf(out, "%.*s", (int)before, text);
    if (c->put != PUT_AWAY)
      at += sprintf(out + at, "%.*s%s%.*s", (int)(word - s), s, c->to,
                    (int)(s + n - word) - (int)strlen(from), word + strlen(from));
    sprintf(out + at, "%s", c->put == PUT_TWICE ? s : s + n);
    return out;
  }
  return NULL;
}

/* says NULL: a text that loads is told by what it does. */
static bool
refused(const char *what, const Case *c, const char *ptx, const char *says)
{
  Session s;
  char why[2400] = "";
  if (!session_open(&s, device_emulator(), c->target, why, sizeof why) ||
      run_case(&s, c, why, sizeof why) != RUN_PASS ||
      !session_inject(&s, ptx, why, sizeof why)) {
    printf("FAIL  %s: right, it does not pass: %s\n", what, why);
    return false;
  }
  Outcome r = run_case(&s, c, why, sizeof why);
  bool told = says ? strstr(why, says) != NULL : !strstr(why, "attnc_plan_get");
  bool ok = (r == RUN_FAIL || r == RUN_BROKEN) && told;
  printf("%s  %s: %s\n", ok ? "ok  " : "FAIL", what, r == RUN_PASS ? "it passes" : why);
  session_close(&s);
  return ok;
}

/* Of no template where the case has none: of ref_fwd, with small blocks. */
static Case
parsed(const char *notation)
{
  char why[200];
  Case c;
  if (!case_parse(notation, &c, why, sizeof why) ||
      (!*c.schedule && !case_pin(&c, plain, why, sizeof why))) {
    printf("FAIL  %s: %s\n", notation, why);
    exit(1);
  }
  return c;
}

/* A text with the mark of another, whose recipe it is to be run by; malloc'd. */
static char *
marked(const char *text, const char *as)
{
  size_t mark = strcspn(as, "\n"), own = strcspn(text, "\n");
  char *out = malloc(mark + strlen(text) + 1);
  if (out)
    sprintf(out, "%.*s%s", (int)mark, as, text + own);
  return out;
}

/* What the mark alone would tell is told by the result. */
static bool
swap(const char *right, const char *other)
{
  const Case c = parsed(right), o = parsed(other);
  char why[600] = "", what[2 * CASE_TEXT];
  char *own = case_ptx(&c, why, sizeof why), *ptx = case_ptx(&o, why, sizeof why);
  char *text = own && ptx ? marked(ptx, own) : NULL;
  snprintf(what, sizeof what, "%s run as %s", right, other);
  bool ok = text && refused(what, &c, text, NULL);
  if (!text)
    printf("FAIL  %s: %s\n", other, why);
  free(text);
  free(own);
  free(ptx);
  return ok;
}

static bool
change(const char *notation, const Change *x)
{
  const Case c = parsed(notation);
  char why[600] = "", what[80];
  char *ptx = case_ptx(&c, why, sizeof why);
  char *text = ptx ? inject(ptx, x) : NULL;
  snprintf(what, sizeof what, "%s, number %d", x->find, x->n + 1);
  bool ok = text && refused(what, &c, text, x->says);
  if (!text)
    printf("FAIL  %s: is not in the kernel %s\n", what, why);
  free(text);
  free(ptx);
  return ok;
}

int
main(void)
{
  int bad = 0;
  for (size_t i = 0; i < sizeof swaps / sizeof swaps[0]; i++)
    bad += !swap(swaps[i].right, swaps[i].other);
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++)
    bad += !change(changed, &changes[i]);
  for (size_t i = 0; i < sizeof listed_changes / sizeof listed_changes[0]; i++)
    bad += !change(listed, &listed_changes[i]);
  return bad != 0;
}
