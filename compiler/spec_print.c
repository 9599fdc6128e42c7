/* The texts of a checked spec: canonical (what spec_hash is over) and JSON; and the JSON
 * Schema of the spec version, from the field table. */
#include "compiler/spec_load.h"

#include "base/hash.h"
#include "base/schedule.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- words ---- */

static const char *
align_name(Align a)
{
  return a == ALIGN_TOP_LEFT ? "top_left" : "bottom_right";
}

static const char *
layout_name(Layout l)
{
  return l == LAYOUT_BHSD ? "bhsd" : "bshd";
}

static const char *
bool_name(bool b)
{
  return b ? "true" : "false";
}

/* The fewest digits that read back as the same double, with a point in every locale. */
static void
put_number(Str *out, double v)
{
  char text[40] = "";
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  locale_t before = uselocale(c);
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, v);
    if (strtod(text, NULL) == v)
      break;
  }
  uselocale(before);
  if (c)
    freelocale(c);
  str_put(out, text);
}

/* ---- canonical text ---- */

static void
put_specialize(const Spec *s, Str *out, const char *quote)
{
  const char *comma = "";
  for (int i = 0; i < SPECIALIZE_COUNT; i++) {
    if (!spec_specializes(s, (Specialize)i))
      continue;
    str_printf(out, "%s%s%s%s", comma, quote, specialize_names[i], quote);
    comma = ", ";
  }
}

static void
put_dtype(const Spec *s, Str *out)
{
  if (s->q == s->k && s->q == s->v && s->q == s->o)
    str_printf(out, "dtype: %s\n", dtype_name(s->q));
  else
    str_printf(out, "dtype: {q: %s, k: %s, v: %s, o: %s}\n", dtype_name(s->q),
               dtype_name(s->k), dtype_name(s->v), dtype_name(s->o));
}

/* One line a field, in the order of the alphabet. */
static const char *
canonical(const Spec *s)
{
  Str out = str_new(s->arena);
  if (s->align != ALIGN_BOTTOM_RIGHT)
    str_printf(&out, "align: %s\n", align_name(s->align));
  str_put(&out, "attnc: 1\n");
  if (s->causal)
    str_put(&out, "causal: true\n");
  put_dtype(s, &out);
  if (s->group_size)
    str_printf(&out, "group_size: %d\n", s->group_size);
  str_printf(&out, "head_dim: %d\n", s->head_dim);
  if (s->head_dim_v != s->head_dim)
    str_printf(&out, "head_dim_v: %d\n", s->head_dim_v);
  if (s->return_lse)
    str_put(&out, "return_lse: true\n");
  if (spec_specializes(s, SPECIALIZE_SOFTMAX_SCALE) &&
      spec_scale(s) != 1 / sqrt(s->head_dim)) {
    str_put(&out, "softmax_scale: ");
    put_number(&out, s->softmax_scale);
    str_put(&out, "\n");
  }
  if (s->specialize) {
    str_put(&out, "specialize: [");
    put_specialize(s, &out, "");
    str_put(&out, "]\n");
  }
  if (s->window[0] >= 0 || s->window[1] >= 0)
    str_printf(&out, "window: [%d, %d]\n", s->window[0], s->window[1]);
  return out.p;
}

/* ---- JSON ---- */

static void
put_text(Str *out, const char *key, const char *text)
{
  str_printf(out, ", \"%s\": ", key);
  str_json(out, text);
}

/* 0: null, which is "left open". */
static void
put_open_int(Str *out, const char *key, int v)
{
  if (v)
    str_printf(out, ", \"%s\": %d", key, v);
  else
    str_printf(out, ", \"%s\": null", key);
}

static void
put_open_text(Str *out, const char *key, const char *text)
{
  if (text)
    put_text(out, key, text);
  else
    str_printf(out, ", \"%s\": null", key);
}

static void
put_pin(Str *out, const Pin *p)
{
  str_printf(out, "{\"line\": %d", p->place.line);
  put_open_text(out, "arch", p->arch);
  put_open_text(out, "template", p->how.template_name);
  for (int i = 0; i < SF_COUNT; i++) {
    str_printf(out, ", \"%s\": ", sched_info[i].name);
    if (sched_get(&p->how, i))
      sched_put(out, i, sched_get(&p->how, i), true);
    else
      str_put(out, "null");
  }
  str_put(out, "}");
}

static void
put_per_tensor(Str *out, const char *key, const char *const words[4])
{
  str_printf(out, ", \"%s\": {\"q\": \"%s\", \"k\": \"%s\", \"v\": \"%s\", \"o\": \"%s\"}",
             key, words[0], words[1], words[2], words[3]);
}

static void
put_shape_fields(const Spec *s, Str *out)
{
  const char *dtypes[4] = {dtype_name(s->q), dtype_name(s->k), dtype_name(s->v),
                           dtype_name(s->o)};
  const char *layouts[4];
  for (int i = 0; i < 4; i++)
    layouts[i] = layout_name(s->layout[i]);
  put_per_tensor(out, "dtype", dtypes);
  str_printf(out, ", \"head_dim\": %d, \"head_dim_v\": %d", s->head_dim, s->head_dim_v);
  put_open_int(out, "group_size", s->group_size);
  put_per_tensor(out, "layout", layouts);
}

static const char *
json(const Spec *s)
{
  Str out = str_new(s->arena);
  str_put(&out, "{\"attnc\": 1");
  put_text(&out, "name", s->name);
  put_text(&out, "doc", s->doc);
  put_shape_fields(s, &out);
  str_printf(&out, ", \"causal\": %s, \"align\": \"%s\", \"window\": [%d, %d]",
             bool_name(s->causal), align_name(s->align), s->window[0], s->window[1]);
  str_put(&out, ", \"softmax_scale\": ");
  put_number(&out, spec_scale(s));
  str_printf(&out, ", \"return_lse\": %s, \"specialize\": [", bool_name(s->return_lse));
  put_specialize(s, &out, "\"");
  str_put(&out, "], \"schedule\": [");
  for (int i = 0; i < s->n_pins; i++) {
    str_put(&out, i ? ", " : "");
    put_pin(&out, &s->pins[i]);
  }
  str_put(&out, "]");
  put_text(&out, "canonical", s->canonical);
  put_text(&out, "hash", s->hash);
  str_put(&out, "}");
  return out.p;
}

void
spec_print(Spec *s)
{
  s->canonical = canonical(s);
  Str text = str_new(s->arena);
  str_put(&text, s->canonical);
  sha256_hex(text.p, text.n, s->hash);
  s->json = json(s);
}
