/* Axes of a recipe: products of sizes, evaluated for a call. */
#include "runtime/recipe.h"

#include <stdio.h>

/* What a grid has along y and z, where both fit, and along x otherwise. */
static bool
fit(int64_t one, int64_t other)
{
  return one <= ASIDE_MOST && other <= ASIDE_MOST;
}

static bool
along(const Term *t, const attnc_sizes *s, int64_t *out)
{
  int64_t one = size_get(s, t->size), other = size_get(s, t->other);
  *out = 1;
  return fit(one, other) || !__builtin_mul_overflow(one, other, out);
}

static bool
aside(const Term *t, const attnc_sizes *s, int sms, int64_t *out)
{
  int64_t one, other;
  if (!axis_value(&t->of[0], s, sms, &one) || !axis_value(&t->of[1], s, sms, &other))
    return false;
  *out = fit(one, other) ? one : 1;
  return true;
}

/* The least of an axis' members, or their sum. */
static bool
members_value(const Term *t, const attnc_sizes *s, int sms, int64_t *out)
{
  bool sum = t->kind == TERM_ADD;
  int64_t all = sum ? 0 : INT64_MAX, one;
  for (int i = 0; i < t->n_of; i++) {
    if (!axis_value(&t->of[i], s, sms, &one))
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
quotient(const Term *t, const attnc_sizes *s, int sms, int64_t *out)
{
  int64_t a, by;
  if (!axis_value(&t->of[0], s, sms, &a) || !axis_value(&t->of[1], s, sms, &by))
    return false;
  *out = by > 1 ? a / by + (a % by != 0) : a;
  return true;
}

static bool
term_value(const Term *t, const attnc_sizes *s, int sms, int64_t *out)
{
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
    *out = sms < t->value ? t->value : sms / t->value * t->value;
    return true;
  case TERM_QUOTIENT:
    return quotient(t, s, sms, out);
  case TERM_MIN:
  case TERM_ADD:
    return members_value(t, s, sms, out);
  case TERM_ASIDE:
    return aside(t, s, sms, out);
  case TERM_ALONG:
    return along(t, s, out);
  case TERM_OR:
    *out = size_get(s, t->size);
    return *out || axis_value(t->of, s, sms, out);
  }
  return false;
}

/* Of no elements there is nothing, however large the other sizes are. */
bool
axis_value(const Axis *a, const attnc_sizes *s, int sms, int64_t *out)
{
  int64_t product = 1, factor;
  bool none = false, over = false;
  for (int i = 0; i < a->n; i++) {
    if (!term_value(&a->terms[i], s, sms, &factor))
      return false;
    none = none || factor == 0;
    over = over || __builtin_mul_overflow(product, factor, &product);
  }
  *out = none ? 0 : product;
  return none || !over;
}

const Axis *
axis_above(const Axis *a, const attnc_sizes *s, int sms, int64_t most)
{
  int64_t v;
  for (int i = 0; i < a->n; i++)
    for (int j = 0; a->terms[i].kind == TERM_MIN && j < a->terms[i].n_of; j++) {
      const Axis *inner = axis_above(&a->terms[i].of[j], s, sms, most);
      if (inner)
        return inner;
    }
  return axis_value(a, s, sms, &v) && v <= most ? NULL : a;
}

/* "sq 1000", "ceil(sq 1000 / 64)", "133": bytes written, as snprintf counts. */
static int
term_text(const Term *t, const attnc_sizes *s, int sms, char *out, size_t n)
{
  int64_t v = 0;
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
  term_value(t, s, sms, &v);
  return snprintf(out, n, "%lld", (long long)v);
}

void
axis_text(const Axis *a, const attnc_sizes *s, int sms, char *out, size_t n)
{
  size_t at = 0;
  snprintf(out, n, "1");
  for (int i = 0; i < a->n && at < n; i++) {
    if (a->terms[i].kind == TERM_CONST && a->terms[i].value == 1)
      continue;
    at += (size_t)snprintf(out + at, n - at, "%s", at ? " * " : "");
    if (at < n)
      at += (size_t)term_text(&a->terms[i], s, sms, out + at, n - at);
  }
}
