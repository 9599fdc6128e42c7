/* gate_spec.c: the specs that the gate is kept over. */
#include "tests/e2e/call.h"
#include "tests/e2e/gate.h"

#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1 << 16 };

static int
whole(const json_t *o, const char *key)
{
  return (int)json_integer_value(json_object_get(o, key));
}

static bool
has_expressions(const json_t *spec)
{
  static const char *const fields[] = {"mask_mod",        "score_mod", "softcap",
                                       "alibi_slopes",    "bias",      "prefix_len",
                                       "attention_chunk", "mask_bits", "block_list"};
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    const json_t *v = json_object_get(spec, fields[i]);
    const char *word = json_string_value(v);
    if (v && !json_is_null(v) && !json_is_false(v) && !(word && strcmp(word, "none") == 0))
      return true;
  }
  return false;
}

enum { PAGE = 16 }; /* rows of a page */

static void
put_pages(attnc_sizes *z, bool are)
{
  z->page_size = are ? PAGE : 0;
  z->max_pages = are ? (z->sk + PAGE - 1) / PAGE : 0;
  z->pages = z->b * z->max_pages;
}

/* Sizes that only tensors of sequences and pages have are 0 where there are none. */
static void
keep_had(const Facts *f, attnc_sizes *z)
{
  put_pages(z, f->tensor[ATTNC_PAGE_TABLE].present);
  z->total_q = f->tensor[ATTNC_CU_SEQLENS_Q].present ? z->b * z->sq : 0;
  z->total_k = f->tensor[ATTNC_CU_SEQLENS_K].present ? z->b * z->sk : 0;
  z->bc = f->tensor[ATTNC_CACHE_BATCH_IDX].present ? z->b : 0;
}

#define USUAL "{} b1 h8/2 s1024"

/* Values for specs that specialise: default sizes, dense strides. */
static bool
problem(const attnc_spec *spec, int group, const char *sizes, CallAsked *p)
{
  Case c;
  Call shape;
  char why[80];
  if (!case_parse(sizes, &c, why, sizeof why))
    return false;
  c.sizes.h = group ? 2 * group : c.sizes.h;
  c.sizes.bc = c.sizes.b;
  c.sizes.total_q = c.sizes.b * c.sizes.sq;
  c.sizes.total_k = c.sizes.b * c.sizes.sk;
  put_pages(&c.sizes, true);
  bool built = call_build(&shape, &c, spec);
  if (built) {
    call_problem(&shape, p);
    keep_had(&shape.facts, &p->sizes);
  }
  call_free(&shape, NULL);
  return built;
}

/* Sizes are hints but for what a spec specialises, and the strides stay those of the
 * smaller tensors: nothing is launched. */
static CallAsked
larger(CallAsked p, int head_dim)
{
  int64_t group = p.sizes.h / p.sizes.hk;
  int64_t heads = 2048 / head_dim / group * group;
  p.sizes.b = 2;
  p.sizes.sq = p.sizes.sk = 8192;
  p.sizes.total_q = p.sizes.total_q ? p.sizes.b * p.sizes.sq : 0;
  p.sizes.total_k = p.sizes.total_k ? p.sizes.b * p.sizes.sk : 0;
  p.sizes.bc = p.sizes.bc ? p.sizes.b : 0;
  put_pages(&p.sizes, p.sizes.page_size > 0);
  p.sizes.h = heads > group ? heads : group;
  p.sizes.hk = p.sizes.h / group;
  return p;
}

/* The same of fp16, in place. */
static attnc_spec *
as_fp16(char *text, size_t n, const char *path)
{
  attnc_spec *spec = NULL;
  char *dtype = strstr(text, "bf16");
  if (dtype)
    memcpy(dtype, "fp16", 4);
  attnc_spec_load(text, n, path, &spec, NULL);
  return spec;
}

/* The text is changed.  Sizes are those of a call that is built for its strides. */
static bool
load_text(char *text, size_t n, const char *path, const char *sizes, GateSpec *s)
{
  if (attnc_spec_load(text, n, path, &s->spec, NULL))
    return false;
  json_t *o = json_loads(attnc_spec_json(s->spec), 0, NULL);
  s->name = attnc_spec_name(s->spec);
  s->head_dim = whole(o, "head_dim");
  s->expressions = has_expressions(o);
  bool built = problem(s->spec, whole(o, "group_size"), sizes, &s->problem);
  json_decref(o);
  if (!built)
    return false;
  s->large = larger(s->problem, s->head_dim);
  asked_problem(&s->problem);
  asked_problem(&s->large);
  s->fp16 = as_fp16(text, n, path);
  return s->fp16 != NULL;
}

static bool
load(const char *path, GateSpec *s)
{
  static char text[TEXT_MAX];
  FILE *f = fopen(path, "rb");
  size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
  if (f)
    fclose(f);
  return load_text(text, n, path, USUAL, s);
}

int
gate_specs(GateSpec specs[SPECS_MAX], int *bad)
{
  glob_t found;
  int n = 0;
  if (glob(SOURCE_DIR "/specs/*.attn.yaml", 0, NULL, &found))
    return 0;
  for (size_t i = 0; i < found.gl_pathc; i++)
    if (n < SPECS_MAX && load(found.gl_pathv[i], &specs[n]))
      n++;
    else
      *bad += printf("FAIL  %s is refused\n", found.gl_pathv[i]) > 0;
  globfree(&found);
  return n;
}

/* Each head_dim twice, with the same head_dim_v and with another one, under a mask. */
static bool
load_dims(int d, bool other, GateSpec *s)
{
  static const char *const masks[] = {"", "causal: true\n", "window: [100, 30]\n"};
  char text[256];
  int dv = other ? (5 * d + 128) % 512 / 8 * 8 + 8 : d;
  int n = snprintf(text, sizeof text,
                   "attnc: 1\nname: d%d_v%d\ndtype: bf16\nhead_dim: %d\nhead_dim_v: %d\n%s",
                   d, dv, d, dv, masks[(d / 8 + other) % 3]);
  return load_text(text, (size_t)n, "dims", USUAL, s);
}

/* The same of one query a sequence, whose lengths the device knows; groups of each number
 * of rows that a block can have, half of them with pages. */
static bool
load_decode(int d, bool other, GateSpec *s)
{
  static const int groups[] = {4, 1, 20, 8, 16, 48};
  int dv = other ? (3 * d + 64) % 512 / 8 * 8 + 8 : d, i = d / 8 + 2 * other;
  int group = groups[i % 6];
  char text[256];
  int n = snprintf(text, sizeof text,
                   "attnc: 1\nname: d%d_v%d_g%d\ndtype: bf16\nhead_dim: %d\n"
                   "head_dim_v: %d\ngroup_size: %d\nseqlens: [seqused_k]\n"
                   "return_lse: true\n%s%s",
                   d, dv, group, d, dv, group, i % 2 ? "page_table: true\n" : "",
                   i % 3 ? "" : "causal: true\n");
  if (!load_text(text, (size_t)n, "decode", "{} b1 h8/2 s16", s))
    return false;
  attnc_sizes *z = &s->large.sizes;
  z->b = 8;
  z->sq = 1;
  z->h = 8 * group;
  z->hk = 8;
  put_pages(z, z->page_size > 0);
  s->problem = s->large;
  asked_problem(&s->large);
  asked_problem(&s->problem);
  return true;
}

/* Of every head_dim two specs. */
static int
all_dims(bool (*make)(int d, bool other, GateSpec *), GateSpec specs[SPECS_MAX], int *bad)
{
  int n = 0;
  for (int d = 8; d <= 512; d = d == 256 ? 512 : d + 8)
    for (int other = 0; other < 2; other++)
      if (make(d, other, &specs[n]))
        n++;
      else
        *bad += printf("FAIL  head_dim %d is refused\n", d) > 0;
  return n;
}

int
gate_dims(GateSpec specs[SPECS_MAX], int *bad)
{
  return all_dims(load_dims, specs, bad);
}

int
gate_decode(GateSpec specs[SPECS_MAX], int *bad)
{
  return all_dims(load_decode, specs, bad);
}
