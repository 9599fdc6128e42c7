#include "tests/e2e/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tables of a call ---- */

const char *const slot_names[ATTNC_SLOT_COUNT] = {
#define X(id, name, ...) name,
    ATTNC_TENSOR_TABLE(X)
#undef X
};

enum { STRIDED = 1, CONTIGUOUS = 0 };
static const struct {
  const char *access, *dtype, *axes, *field;
  bool strided;
} tensors[ATTNC_SLOT_COUNT] = {
#define X(id, name, access, dtype, axes, strided, field, align)                            \
  {access, dtype, axes, field, strided},
    ATTNC_TENSOR_TABLE(X)
#undef X
};

static int64_t
size_of(const attnc_sizes *z, const Facts *f, const char *name, size_t n)
{
#define X(id, member, what)                                                                \
  if (strlen(#member) == n && strncmp(name, #member, n) == 0)                              \
    return z->member;
  ATTNC_SIZE_TABLE(X)
#undef X
  return n == 1 ? f->d : f->dv; /* d, dv */
}

Shape
facts_shape(const Facts *f, const attnc_sizes *z, int slot)
{
  int64_t x[4] = {1, 1, 1, 1};
  int rank = 0;
  for (const char *p = tensors[slot].axes; *p && rank < 4; p += *p == ' ') {
    size_t n = strcspn(p, " ");
    x[rank++] = size_of(z, f, p, n);
    p += n;
  }
  return (Shape){x[0], x[1], x[2], x[3], rank};
}

bool
facts_output(int slot)
{
  return strstr(tensors[slot].access, "fwd:out") != NULL;
}

bool
facts_strided(int slot)
{
  return tensors[slot].strided;
}

/* ---- JSON, as far as attnc_spec_json writes it ---- */

/* What follows `"key":`, blanks left out; "" where there is no such key. */
static const char *
value(const char *json, const char *key)
{
  char quoted[64];
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *p = strstr(json, quoted);
  if (!p)
    return "";
  p += strlen(quoted);
  return p + strspn(p, " \n");
}

static bool
is(const char *json, const char *key, const char *text)
{
  return strncmp(value(json, key), text, strlen(text)) == 0;
}

static int
whole(const char *json, const char *key)
{
  return atoi(value(json, key));
}

/* ---- the facts ---- */

static OracleType
type_of(const char *map, const char *tensor)
{
  static const char *const names[] = {"\"fp16\"", "\"bf16\"", "\"fp32\""};
  for (int t = ORACLE_FP16; t < ORACLE_FP32; t++)
    if (is(map, tensor, names[t]))
      return (OracleType)t;
  return ORACLE_FP32;
}

bool
facts_read(const attnc_spec *spec, Facts *f)
{
  const char *json = attnc_spec_json(spec);
  const char *dtypes = value(json, "dtype"), *layouts = value(json, "layout");
  *f = (Facts){.d = whole(json, "head_dim"),
               .dv = whole(json, "head_dim_v"),
               .causal = is(json, "causal", "true"),
               .top_left = is(json, "align", "\"top_left\""),
               .scale = atof(value(json, "softmax_scale"))};
  for (int i = 0; i < ATTNC_SLOT_COUNT; i++) {
    const char *field = tensors[i].field;
    f->dtype[i] = strcmp(tensors[i].dtype, "fp32") == 0 ? ORACLE_FP32
                                                        : type_of(dtypes, slot_names[i]);
    f->heads_first[i] = !tensors[i].strided || is(layouts, slot_names[i], "\"bhsd\"");
    f->present[i] = !*field || is(json, field, "true");
  }
  return sscanf(value(json, "window"), "[%d, %d]", &f->left, &f->right) == 2 && f->d > 0 &&
         f->dv > 0 && f->scale > 0;
}

int
facts_bytes(OracleType t)
{
  return t == ORACLE_FP32 ? 4 : 2;
}

double
facts_macs(const Facts *f, const attnc_sizes *z)
{
  return (double)z->b * (double)z->h * (double)z->sq * (double)z->sk * (f->d + f->dv);
}
