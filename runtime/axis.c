/* Axes of a recipe: products of sizes, evaluated for a call. */
#include "runtime/recipe.h"

#include <stdio.h>

enum { BITS = 64, BEYOND = -1 }; /* of a word of `known`; the value of what is too large */

AxisValues
axis_values(const attnc_sizes *s, int sms)
{
  AxisValues v;
  v.sizes = s;
  v.sms = sms;
  for (size_t i = 0; i < sizeof v.known / sizeof *v.known; i++)
    v.known[i] = 0;
  return v;
}

/* What a grid has along y and z, where both fit, and along x otherwise. */
static bool
fit(int64_t one, int64_t other)
{
  return one <= ASIDE_MOST && other <= ASIDE_MOST;
}

static bool
along(const attnc_sizes *s, const Term *t, int64_t *out)
{
  int64_t one = size_get(s, t->size), other = size_get(s, t->other);
  *out = 1;
  return fit(one, other) || !__builtin_mul_overflow(one, other, out);
}

static bool
aside(AxisValues *v, const Term *t, int64_t *out)
{
  int64_t one, other;
  if (!axis_value(v, &t->of[0], &one) || !axis_value(v, &t->of[1], &other))
    return false;
  *out = fit(one, other) ? one : 1;
  return true;
}

/* The least of an axis' members, or their sum. */
static bool
members_value(AxisValues *v, const Term *t, int64_t *out)
{
  bool sum = t->kind == TERM_ADD;
  int64_t all = sum ? 0 : INT64_MAX, one;
  for (int i = 0; i < t->n_of; i++) {
    if (!axis_value(v, &t->of[i], &one))
      return false;
    if (!sum)
      all = one < all ? one : all;
    else if (__builtin_add_overflow(all, one, &all))
      return false;
  }
  *out = all;
  return true;
}

static bool
quotient(AxisValues *v, const Term *t, int64_t *out)
{
  int64_t a, by;
  if (!axis_value(v, &t->of[0], &a) || !axis_value(v, &t->of[1], &by))
    return false;
  *out = by > 1 ? a / by + (a % by != 0) : a;
  return true;
}

static bool
term_value(AxisValues *v, const Term *t, int64_t *out)
{
  const attnc_sizes *s = v->sizes;
  int64_t one;
  switch (t->kind) {
  case TERM_CONST:
    *out = t->value;
    return true;
  case TERM_SIZE:
    *out = size_get(s, t->size);
    return true;
  case TERM_CEIL_DIV:
    one = size_get(s, t->size);
    *out = one / t->value + (one % t->value != 0);
    return true;
  case TERM_SMS:
    *out = v->sms < t->value ? t->value : v->sms / t->value * t->value;
    return true;
  case TERM_QUOTIENT:
    return quotient(v, t, out);
  case TERM_MIN:
  case TERM_ADD:
    return members_value(v, t, out);
  case TERM_ASIDE:
    return aside(v, t, out);
  case TERM_ALONG:
    return along(s, t, out);
  case TERM_OR:
    *out = size_get(s, t->size);
    return *out || axis_value(v, t->of, out);
  }
  return false;
}

/* Of no elements there is nothing, however large the other sizes are. */
static int64_t
product(AxisValues *v, const Axis *a)
{
  int64_t all = 1, factor;
  bool none = false, over = false;
  for (int i = 0; i < a->n; i++) {
    if (!term_value(v, &a->terms[i], &factor))
      return BEYOND;
    none = none || factor == 0;
    over = over || __builtin_mul_overflow(all, factor, &all);
  }
  return none ? 0 : over ? BEYOND : all;
}

bool
axis_value(AxisValues *v, const Axis *a, int64_t *out)
{
  uint64_t *word = &v->known[a->id / BITS], bit = UINT64_C(1) << a->id % BITS;
  if (!(*word & bit)) {
    v->at[a->id] = product(v, a);
    *word |= bit;
  }
  *out = v->at[a->id];
  return *out != BEYOND;
}

const Axis *
axis_above(AxisValues *v, const Axis *a, int64_t most)
{
  int64_t all;
  for (int i = 0; i < a->n; i++)
    for (int j = 0; a->terms[i].kind == TERM_MIN && j < a->terms[i].n_of; j++) {
      const Axis *inner = axis_above(v, &a->terms[i].of[j], most);
      if (inner)
        return inner;
    }
  return axis_value(v, a, &all) && all <= most ? NULL : a;
}

/* "sq 1000", "ceil(sq 1000 / 64)", "133": bytes written, as snprintf counts. */
static int
term_text(AxisValues *v, const Term *t, char *out, size_t n)
{
  const attnc_sizes *s = v->sizes;
  int64_t value = 0;
  if (t->kind == TERM_SIZE)
    return snprintf(out, n, "%s %lld", size_names[t->size],
                    (long long)size_get(s, t->size));
  if (t->kind == TERM_CEIL_DIV)
    return snprintf(out, n, "ceil(%s %lld / %lld)", size_names[t->size],
                    (long long)size_get(s, t->size), (long long)t->value);
  if (t->kind == TERM_ALONG)
    return snprintf(out, n, "%s %lld * %s %lld", size_names[t->size],
                    (long long)size_get(s, t->size), size_names[t->other],
                    (long long)size_get(s, t->other));
  term_value(v, t, &value);
  return snprintf(out, n, "%lld", (long long)value);
}

void
axis_text(AxisValues *v, const Axis *a, char *out, size_t n)
{
  size_t at = 0;
  snprintf(out, n, "1");
  for (int i = 0; i < a->n && at < n; i++) {
    if (a->terms[i].kind == TERM_CONST && a->terms[i].value == 1)
      continue;
    at += (size_t)snprintf(out + at, n - at, "%s", at ? " * " : "");
    if (at < n)
      at += (size_t)term_text(v, &a->terms[i], out + at, n - at);
  }
}
