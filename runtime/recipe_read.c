#include "runtime/recipe_read.h"

#include "base/err.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { MAX_TERMS = 16, MAX_DEPTH = 16 };

/* ---- reading JSON ---- */

attnc_status
read_bad(Reader *rd, const char *fmt, ...)
{
  char text[256];
  va_list args;
  va_start(args, fmt);
  vsnprintf(text, sizeof text, fmt, args);
  va_end(args);
  return err_set(rd->e, ATTNC_ERR_IO, "kernel recipe: %s%s%s", rd->at, *rd->at ? ": " : "",
                 text);
}

attnc_status
read_no_memory(Reader *rd)
{
  return err_set(rd->e, ATTNC_ERR_NOMEM, "kernel recipe: out of memory");
}

attnc_status
read_object(Reader *rd, json_t *v, const char *const *keys)
{
  const char *key;
  json_t *value;
  if (!json_is_object(v))
    return read_bad(rd, "expected an object");
  json_object_foreach(v, key, value)
  {
    const char *const *k = keys;
    while (*k && strcmp(*k, key) != 0)
      k++;
    if (!*k)
      return read_bad(rd, "unknown key '%.60s'", key);
  }
  return ATTNC_OK;
}

attnc_status
read_text(Reader *rd, json_t *o, const char *key, const char **out)
{
  const char *s = json_string_value(json_object_get(o, key));
  if (!s)
    return read_bad(rd, "'%s': expected a string", key);
  *out = s; /* owned by the tree, which the recipe keeps */
  return ATTNC_OK;
}

attnc_status
read_int_in(Reader *rd, json_t *v, const char *what, int64_t lo, int64_t hi, int64_t *out)
{
  if (!json_is_integer(v))
    return read_bad(rd, "'%s': expected an integer", what);
  *out = json_integer_value(v);
  if (*out < lo || *out > hi)
    return read_bad(rd, "'%s': %lld is not in %lld to %lld", what, (long long)*out,
                    (long long)lo, (long long)hi);
  return ATTNC_OK;
}

attnc_status
read_int(Reader *rd, json_t *o, const char *key, int lo, int hi, int *out)
{
  int64_t v = 0;
  TRY(read_int_in(rd, json_object_get(o, key), key, lo, hi, &v));
  *out = (int)v;
  return ATTNC_OK;
}

attnc_status
read_bool(Reader *rd, json_t *o, const char *key, bool *out)
{
  json_t *v = json_object_get(o, key);
  if (!json_is_boolean(v))
    return read_bad(rd, "'%s': expected true or false", key);
  *out = json_is_true(v);
  return ATTNC_OK;
}

attnc_status
read_array(Reader *rd, json_t *v, const char *what, size_t lo, size_t hi)
{
  size_t n = json_array_size(v);
  if (!json_is_array(v) || n < lo || n > hi)
    return read_bad(rd, "'%s': expected a list of %zu to %zu", what, lo, hi);
  return ATTNC_OK;
}

int
read_name(const char *name, const char *const *names, int n)
{
  for (int i = 0; i < n; i++)
    if (name && !strcmp(name, names[i]))
      return i;
  return -1;
}

/* The tensors are read before what is told in sizes: one that no call has would be 0. */
attnc_status
read_size(Reader *rd, json_t *v, SizeId *out)
{
  int i = read_name(json_string_value(v), size_names, SIZE_COUNT);
  if (i < 0)
    return read_bad(rd, "expected a size: one of the call's");
  if (!size_is_had(rd->r->tensors, rd->r->n_slots, (SizeId)i))
    return read_bad(rd, "'%s': no tensor has such an axis", size_names[i]);
  rd->r->reads[i] = true;
  *out = (SizeId)i;
  return ATTNC_OK;
}

/* ---- axes ---- */

static bool
same_term(const Term *a, const Term *b)
{
  bool same = a->kind == b->kind && a->size == b->size && a->other == b->other &&
              a->value == b->value && a->n_of == b->n_of;
  for (int i = 0; same && i < a->n_of; i++)
    same = a->of[i].id == b->of[i].id;
  return same;
}

static bool
same_axis(const Axis *a, const Axis *b)
{
  bool same = a->n == b->n;
  for (int i = 0; same && i < a->n; i++)
    same = same_term(&a->terms[i], &b->terms[i]);
  return same;
}

/* Whose parts have their ids. */
static attnc_status
number_axis(Reader *rd, Axis *a)
{
  for (a->id = 0; a->id < rd->n_axes; a->id++)
    if (same_axis(&rd->axes[a->id], a))
      return ATTNC_OK;
  if (rd->n_axes == RECIPE_AXES)
    return read_bad(rd, "more than %d different axes", (int)RECIPE_AXES);
  rd->axes[rd->n_axes++] = *a;
  return ATTNC_OK;
}

static attnc_status
read_members(Reader *rd, json_t *list, TermKind kind, int depth, Term *t)
{
  const char *what = kind == TERM_MIN ? "min" : kind == TERM_ADD ? "add" : "quotient";
  size_t pair = kind == TERM_QUOTIENT ? 2 : 0;
  TRY(read_array(rd, list, what, pair ? pair : 1, pair ? pair : MAX_TERMS));
  t->kind = kind;
  t->n_of = (int)json_array_size(list);
  t->of = NEW_N(rd->r->arena, Axis, t->n_of);
  if (!t->of)
    return read_no_memory(rd);
  for (int i = 0; i < t->n_of; i++)
    TRY(read_axis(rd, json_array_get(list, (size_t)i), depth + 1, &t->of[i]));
  return ATTNC_OK;
}

static attnc_status
read_ceil_div(Reader *rd, json_t *pair, Term *t)
{
  TRY(read_array(rd, pair, "ceil_div", 2, 2));
  t->kind = TERM_CEIL_DIV;
  TRY(read_size(rd, json_array_get(pair, 0), &t->size));
  return read_int_in(rd, json_array_get(pair, 1), "ceil_div", 1, INT_MAX, &t->value);
}

/* A size, by its name alone, or an axis. */
static attnc_status
read_either(Reader *rd, json_t *v, int depth, Axis *a)
{
  if (!json_is_string(v) || !strcmp(json_string_value(v), "sm_count"))
    return read_axis(rd, v, depth, a);
  a->n = 1;
  a->terms = NEW(rd->r->arena, Term);
  if (!a->terms)
    return read_no_memory(rd);
  a->terms->kind = TERM_SIZE;
  TRY(read_size(rd, v, &a->terms->size));
  return number_axis(rd, a);
}

static attnc_status
read_aside(Reader *rd, json_t *pair, int depth, Term *t)
{
  TRY(read_array(rd, pair, "aside", 2, 2));
  t->kind = TERM_ASIDE;
  t->n_of = 2;
  t->of = NEW_N(rd->r->arena, Axis, 2);
  if (!t->of)
    return read_no_memory(rd);
  TRY(read_either(rd, json_array_get(pair, 0), depth + 1, &t->of[0]));
  return read_either(rd, json_array_get(pair, 1), depth + 1, &t->of[1]);
}

static attnc_status
read_along(Reader *rd, json_t *pair, Term *t)
{
  TRY(read_array(rd, pair, "along", 2, 2));
  t->kind = TERM_ALONG;
  TRY(read_size(rd, json_array_get(pair, 0), &t->size));
  return read_size(rd, json_array_get(pair, 1), &t->other);
}

/* A size that is a choice, or else the axis. */
static attnc_status
read_or(Reader *rd, json_t *pair, int depth, Term *t)
{
  TRY(read_array(rd, pair, "or", 2, 2));
  t->kind = TERM_OR;
  t->n_of = 1;
  t->of = NEW(rd->r->arena, Axis);
  if (!t->of)
    return read_no_memory(rd);
  TRY(read_size(rd, json_array_get(pair, 0), &t->size));
  if (!size_is_choice(t->size))
    return read_bad(rd, "'or': expected a size that may be left out");
  return read_axis(rd, json_array_get(pair, 1), depth + 1, t->of);
}

static attnc_status
read_term(Reader *rd, json_t *v, int depth, Term *t)
{
  json_t *of;
  if (depth > MAX_DEPTH)
    return read_bad(rd, "nested too deep");
  if (json_is_integer(v)) {
    t->kind = TERM_CONST;
    return read_int_in(rd, v, "factor", 0, INT_MAX, &t->value);
  }
  if (json_is_string(v) && !strcmp(json_string_value(v), "sm_count")) {
    t->kind = TERM_SMS;
    t->value = 1;
    return ATTNC_OK;
  }
  if (!json_is_object(v) || json_object_size(v) != 1)
    return read_bad(
        rd, "expected a factor: an integer, size, ceil_div, quotient, min, add, aside, "
            "along, or, sms or sm_count");
  if ((of = json_object_get(v, "sms"))) {
    t->kind = TERM_SMS;
    return read_int_in(rd, of, "sms", 1, INT_MAX, &t->value);
  }
  if ((of = json_object_get(v, "size"))) {
    t->kind = TERM_SIZE;
    return read_size(rd, of, &t->size);
  }
  if ((of = json_object_get(v, "ceil_div")))
    return read_ceil_div(rd, of, t);
  if ((of = json_object_get(v, "quotient")))
    return read_members(rd, of, TERM_QUOTIENT, depth, t);
  if ((of = json_object_get(v, "min")))
    return read_members(rd, of, TERM_MIN, depth, t);
  if ((of = json_object_get(v, "add")))
    return read_members(rd, of, TERM_ADD, depth, t);
  if ((of = json_object_get(v, "aside")))
    return read_aside(rd, of, depth, t);
  if ((of = json_object_get(v, "along")))
    return read_along(rd, of, t);
  if ((of = json_object_get(v, "or")))
    return read_or(rd, of, depth, t);
  return read_bad(rd, "unknown factor '%.40s'", json_object_iter_key(json_object_iter(v)));
}

static attnc_status
read_product(Reader *rd, json_t *list, int depth, Axis *a)
{
  TRY(read_array(rd, list, "factors", 1, MAX_TERMS));
  a->n = (int)json_array_size(list);
  a->terms = NEW_N(rd->r->arena, Term, a->n);
  if (!a->terms)
    return read_no_memory(rd);
  for (int i = 0; i < a->n; i++)
    TRY(read_term(rd, json_array_get(list, (size_t)i), depth, &a->terms[i]));
  return number_axis(rd, a);
}

attnc_status
read_axis(Reader *rd, json_t *v, int depth, Axis *a)
{
  json_t *mul = json_object_get(v, "mul");
  if (mul && json_object_size(v) == 1)
    return read_product(rd, mul, depth, a);
  a->n = 1;
  a->terms = NEW(rd->r->arena, Term);
  if (!a->terms)
    return read_no_memory(rd);
  TRY(read_term(rd, v, depth, a->terms));
  return number_axis(rd, a);
}
