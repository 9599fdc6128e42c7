#include "tests/e2e/facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const slot_names[ATTNC_SLOT_COUNT] = {
#define X(id, name, ...) name,
    ATTNC_TENSOR_TABLE(X)
#undef X
};

/* ---- shapes ---- */

/* A size by the name that the axis begins with; what begins with a digit is a length. */
static int64_t
length_of(const attnc_sizes *z, const char *axis)
{
  size_t n = strcspn(axis, "/+");
  int64_t size = atoll(axis), by = axis[n] ? atoll(axis + n + 1) : 1;
#define X(id, member, what)                                                                \
  if (strlen(#member) == n && strncmp(#member, axis, n) == 0)                              \
    size = z->member;
  ATTNC_SIZE_TABLE(X)
#undef X
  return axis[n] == '+' ? size + by : (size + by - 1) / by;
}

Shape
facts_shape(const Facts *f, const attnc_sizes *z, int slot)
{
  const TensorFacts *t = &f->tensor[slot];
  int64_t x[4] = {1, 1, 1, 1};
  for (int i = 0; i < t->rank; i++)
    x[i + facts_packed(f, slot)] = length_of(z, t->axis[i]);
  return (Shape){x[0], x[1], x[2], x[3], t->rank};
}

bool
facts_is_main(int slot)
{
  return slot <= ATTNC_O;
}

int
facts_packed(const Facts *f, int slot)
{
  return facts_is_main(slot) && f->tensor[slot].rank == 3;
}

/* ---- JSON, as far as attnc_spec_json and attnc_spec_signature write it ---- */

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

/* A word of a list or a value, without its quotes; returns what is behind it. */
static const char *
word(const char *p, char *to, size_t n)
{
  p += *p == '"';
  size_t len = strcspn(p, "\",]}");
  snprintf(to, n, "%.*s", (int)len, p);
  p += len;
  return p + (*p == '"');
}

/* ---- the facts ---- */

static int
type_of(const char *tensor)
{
  static const char *const names[] = {"\"fp16\"", "\"bf16\"", "\"fp32\"", "\"i32\"",
                                      "\"u32\""};
  for (int t = 0; t <= FACTS_U32; t++)
    if (is(tensor, "dtype", names[t]))
      return t;
  return -1;
}

/* Of the signature's object of one tensor. */
static bool
read_tensor(const char *json, const char *layouts, Facts *f)
{
  int slot = whole(json, "slot");
  if (slot < 0 || slot >= FACTS_SLOTS)
    return false;
  TensorFacts *t = &f->tensor[slot];
  *t = (TensorFacts){.present = true,
                     .type = type_of(json),
                     .align = whole(json, "align"),
                     .output = is(json, "access", "\"out"),
                     .contiguous = is(json, "contiguous", "true"),
                     .monotone = is(json, "monotone", "true")};
  word(value(json, "name"), t->name, sizeof t->name);
  t->heads_first = !facts_is_main(slot) || is(layouts, t->name, "\"bhsd\"");
  for (const char *p = value(json, "axes"); (*p == '[' || *p == ',') && t->rank < 4;)
    p = word(p + 1, t->axis[t->rank++], sizeof t->axis[0]);
  return t->type >= 0 && t->rank > 0;
}

static bool
read_tensors(const char *signature, const char *layouts, Facts *f)
{
  char object[512];
  for (const char *p = value(signature, "tensors"); (p = strchr(p, '{')) != NULL;) {
    size_t n = strcspn(p, "}");
    snprintf(object, sizeof object, "%.*s", (int)n, p);
    if (n >= sizeof object)
      return false;
    if (*value(object, "slot") && *value(object, "axes") &&
        !read_tensor(object, layouts, f))
      return false;
    p += n;
  }
  return true;
}

/* What the oracle of these tests has no word for. */
static bool
only_bands(const char *json, const Facts *f)
{
  static const char *const none[] = {"softcap", "attention_chunk", "mask_mod", "score_mod"};
  for (size_t i = 0; i < sizeof none / sizeof *none; i++)
    if (!is(json, none[i], "null"))
      return false;
  for (int slot = ATTNC_LSE + 1; slot < ATTNC_SLOT_COUNT; slot++)
    if (f->tensor[slot].present)
      return false;
  return is(json, "lse_base", "\"e\"");
}

bool
facts_read(const attnc_spec *spec, Facts *f)
{
  const char *json = attnc_spec_json(spec);
  *f = (Facts){.d = whole(json, "head_dim"),
               .dv = whole(json, "head_dim_v"),
               .causal = is(json, "causal", "true"),
               .top_left = is(json, "align", "\"top_left\""),
               .scale = atof(value(json, "softmax_scale"))};
  const char *signature = attnc_spec_signature(spec, ATTNC_OP_FWD);
  if (!read_tensors(signature, value(json, "layout"), f))
    return false;
  f->plain = only_bands(json, f);
  return sscanf(value(json, "window"), "[%d, %d]", &f->left, &f->right) == 2 && f->d > 0 &&
         f->dv > 0 && f->scale > 0;
}

int
facts_bytes(int type)
{
  return type >= ORACLE_FP32 ? 4 : 2;
}

double
facts_macs(const Facts *f, const attnc_sizes *z)
{
  return (double)z->b * (double)z->h * (double)z->sq * (double)z->sk * (f->d + f->dv);
}
