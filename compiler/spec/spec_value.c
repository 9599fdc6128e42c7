/* Scalars of a spec.  YAML 1.1 and 1.2 readers disagree on what `no`, `010` or `1:30` are;
 * here each form that is not plainly what is due is refused by its name. */
#include "compiler/spec/spec_load.h"

#include "base/rules.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- what a word looks like ---- */

static bool
one_of(const char *word, const char *const *list)
{
  for (; *list; list++)
    if (str_eq(word, *list))
      return true;
  return false;
}

/* All of s consists of characters of `set`, and there is one. */
static bool
only(const char *s, const char *set)
{
  return *s && s[strspn(s, set)] == 0;
}

#define DIGITS "0123456789"

static bool
is_radix(const char *s)
{
  if (s[0] != '0')
    return false;
  if (s[1] == 'x' || s[1] == 'X')
    return only(s + 2, DIGITS "abcdefABCDEF_");
  return (s[1] == 'o' || s[1] == 'b') && only(s + 2, DIGITS "_");
}

/* [0-9]* ( . [0-9]* )? ( e [-+]? [0-9]+ )? with a digit before the e. */
static bool
is_float(const char *s)
{
  size_t before = strspn(s, DIGITS), after = 0;
  s += before;
  if (*s == '.') {
    after = strspn(s + 1, DIGITS);
    s += 1 + after;
  }
  if (before + after == 0)
    return false;
  if (*s == 'e' || *s == 'E') {
    s++;
    s += *s == '-' || *s == '+';
    return only(s, DIGITS);
  }
  return *s == 0;
}

static Look
look_number(const char *text)
{
  const char *s = text + (*text == '-' || *text == '+');
  if (*s == '.' && (strcasecmp(s, ".inf") == 0 || strcasecmp(s, ".nan") == 0))
    return LOOK_NONFINITE;
  if (only(s, DIGITS)) {
    if (s[0] == '0' && s[1])
      return LOOK_OCTAL;
    return *text == '+' ? LOOK_SIGNED : LOOK_INT;
  }
  if (is_radix(s))
    return LOOK_RADIX;
  if (is_float(s))
    return LOOK_FLOAT;
  if (isdigit((unsigned char)*s) && only(s, DIGITS "_:."))
    return LOOK_GROUPED;
  return LOOK_WORD;
}

Look
spec_look(const char *s)
{
  static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
  static const char *const bools[] = {"true", "false", NULL};
  static const char *const bools11[] = {
      "True", "TRUE", "False", "FALSE", "yes", "Yes", "YES", "no", "No", "NO", "on",
      "On",   "ON",   "off",   "Off",   "OFF", "y",   "Y",   "n",  "N",  NULL};
  if (one_of(s, nulls))
    return LOOK_NULL;
  if (one_of(s, bools))
    return LOOK_BOOL;
  return one_of(s, bools11) ? LOOK_BOOL11 : look_number(s);
}

/* ---- kinds ---- */

static const char *
kind_name(const DocNode *node)
{
  return node->kind == DOC_MAP    ? "a map"
         : node->kind == DOC_LIST ? "a list"
                                  : "a single value";
}

/* How messages name the value: by its key, or as an element of a list. */
static const char *
subject(SpecLoad *l, const DocNode *node)
{
  if (node->key)
    return arena_printf(l->arena, "`%s`", spec_shown(l, node->key));
  return arena_printf(l->arena, "an element of `%s`", l->within);
}

bool
spec_value_is(SpecLoad *l, const DocNode *node, DocKind kind, const char *due)
{
  if (node->kind == DOC_BAD)
    return false;
  bool null =
      node->kind == DOC_SCALAR && !node->quoted && spec_look(node->text) == LOOK_NULL;
  if (null)
    spec_fault(l, node->place, SE_NULL_VALUE, NULL, "%s has no value", subject(l, node));
  else if (node->kind != kind)
    spec_fault(l, node->place, SE_WRONG_KIND, NULL, "%s takes %s, not %s", subject(l, node),
               due, kind_name(node));
  return !null && node->kind == kind;
}

bool
spec_value_text(SpecLoad *l, const DocNode *node, const char **out)
{
  if (!spec_value_is(l, node, DOC_SCALAR, "text"))
    return false;
  Look look = node->quoted ? LOOK_WORD : spec_look(node->text);
  if (look != LOOK_WORD)
    spec_fault(l, node->place, SE_NOT_TEXT, NULL, "%s takes text; YAML reads `%s` as a %s",
               subject(l, node), spec_shown(l, node->text),
               look == LOOK_BOOL || look == LOOK_BOOL11 ? "boolean" : "number");
  *out = node->text;
  return look == LOOK_WORD;
}

bool
spec_value_bool(SpecLoad *l, const DocNode *node, bool *out)
{
  if (!spec_value_is(l, node, DOC_SCALAR, "`true` or `false`"))
    return false;
  static const char *const yes[] = {"yes", "on", "y", "true", "1", NULL};
  static const char *const no[] = {"no", "off", "n", "false", "0", NULL};
  const char *means = NULL;
  for (int i = 0; i < 5; i++)
    means = !strcasecmp(node->text, yes[i])  ? "write `true`"
            : !strcasecmp(node->text, no[i]) ? "write `false`"
                                             : means;
  Look look = spec_look(node->text);
  *out = node->text[0] == 't';
  if (look == LOOK_BOOL && !node->quoted)
    return true;
  SpecError e = look == LOOK_BOOL ? SE_QUOTED : SE_BOOLEAN;
  spec_fault(l, node->place, e, means ? means : "write `true` or `false`",
             "%s takes `true` or `false`, not `%s`%s", subject(l, node),
             spec_shown(l, node->text), look == LOOK_BOOL ? " in quotes" : "");
  return false;
}

/* ---- numbers ---- */

/* Refuses every form that is no plain number; *look is what remains, help is for words. */
static bool
number_form(SpecLoad *l, const DocNode *node, const char *due, const char *help, Look *look)
{
  if (!spec_value_is(l, node, DOC_SCALAR, due))
    return false;
  const char *text = node->text, *shown = spec_shown(l, text), *who = subject(l, node);
  *look = spec_look(text);
  if (node->quoted && *look >= LOOK_INT)
    spec_fault(l, node->place, SE_QUOTED, NULL, "%s takes %s, not `%s` in quotes", who, due,
               shown);
  else if (*look == LOOK_OCTAL)
    spec_fault(l, node->place, SE_OCTAL,
               "YAML 1.1 reads it as octal: remove the leading zeros",
               "leading zero in `%s`", shown);
  else if (*look == LOOK_RADIX)
    spec_fault(l, node->place, SE_RADIX, NULL, "`%s` is not decimal", shown);
  else if (*look == LOOK_GROUPED || *look == LOOK_SIGNED)
    spec_fault(l, node->place, SE_NUMBER_FORM, NULL, "`%s` is not a plain number", shown);
  else if (*look < LOOK_INT)
    spec_fault(l, node->place, SE_NOT_NUMBER, help, "%s takes %s, not `%s`", who, due,
               shown);
  else
    return true;
  return false;
}

/* "write `1000`" for 1e3 and the like, NULL when there is no such integer. */
static const char *
as_integer(SpecLoad *l, const char *text, Look look)
{
  double v = look == LOOK_FLOAT ? str_real(text) : NAN;
  if (!(fabs(v) < 1e9) || v != floor(v))
    return NULL;
  return arena_printf(l->arena, "write `%d`", (int)v);
}

static bool
int_fits(SpecLoad *l, const DocNode *node, const Field *f, int v)
{
  const char *key = spec_shown(l, node->key ? node->key : f->key);
  const char *more = spec_int_more(f);
  if (more && v == atoi(more))
    return true;
  if (v < f->lo || v > f->hi) {
    spec_fault(l, node->place, SE_RANGE, NULL, "`%s` is from %d to %d%s%s, not %s", key,
               f->lo, f->hi, more ? ", or " : "", more ? more : "",
               spec_shown(l, node->text));
    return false;
  }
  if (v % f->step == 0)
    return true;
  int below = v / f->step * f->step;
  spec_fault(l, node->place, SE_MULTIPLE,
             arena_printf(l->arena, "the nearest are %d and %d", below, below + f->step),
             "`%s` is a multiple of %d, which %d is not", key, f->step, v);
  return false;
}

bool
spec_value_int(SpecLoad *l, const DocNode *node, const Field *f, int *out)
{
  Look look = LOOK_WORD;
  if (!number_form(l, node, "an integer", NULL, &look))
    return false;
  if (look != LOOK_INT) {
    spec_fault(l, node->place, SE_NOT_INTEGER, as_integer(l, node->text, look),
               "%s takes an integer, not `%s`", subject(l, node),
               spec_shown(l, node->text));
    return false;
  }
  long long v = strtoll(node->text, NULL, 10); /* saturates */
  *out = v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : (int)v;
  return int_fits(l, node, f, *out);
}

bool
spec_value_scale(SpecLoad *l, const DocNode *node, const Field *f, double *out)
{
  const char *help =
      f->initial ? arena_printf(l->arena, "leave it out for %s", f->initial) : NULL;
  Look look = LOOK_WORD;
  if (!number_form(l, node, "a number", help, &look))
    return false;
  *out = look == LOOK_NONFINITE ? NAN : str_real(node->text);
  RuleFault fault; /* what a launch refuses */
  if (!isnan(*out) && rule_scalar(*out, 1, &fault))
    return true;
  spec_fault(l, node->place, SE_NOT_POSITIVE, help,
             "%s is a normal number of fp32, above 0 and below 2^127, `%s` is not",
             subject(l, node), spec_shown(l, node->text));
  return false;
}

bool
spec_value_real(SpecLoad *l, const DocNode *node, double *out)
{
  Look look = LOOK_WORD;
  if (!number_form(l, node, "a number", "write `run_time` for none", &look))
    return false;
  RuleFault fault;
  *out = look == LOOK_NONFINITE ? NAN : str_real(node->text);
  if (!isnan(*out) && rule_scalar(*out, 0, &fault))
    return true;
  spec_fault(l, node->place, SE_RANGE, NULL, "%s is finite as fp32, `%s` is not",
             subject(l, node), spec_shown(l, node->text));
  return false;
}

/* ---- words ---- */

static const char *
word_help(SpecLoad *l, const char *text, const char *const *words, int n)
{
  static const char *const aliases[][2] = {
#define WORD_ALIAS(from, to) {from, to},
#include "compiler/spec/spec_fields.def"
#undef WORD_ALIAS
  };
  const char *near = str_nearest(text, words, n);
  for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
    for (int w = 0; w < n; w++)
      if (!strcasecmp(text, aliases[i][0]) && str_eq(words[w], aliases[i][1]))
        near = words[w];
  if (near)
    return arena_printf(l->arena, "did you mean `%s`?", near);
  Str s = str_new(l->arena);
  str_put(&s, "one of");
  for (int i = 0; i < n; i++)
    str_printf(&s, " `%s`", words[i]);
  return s.p;
}

bool
spec_value_word(SpecLoad *l, const DocNode *node, const char *const *words, int n, int *out)
{
  if (!spec_value_is(l, node, DOC_SCALAR, "a word"))
    return false;
  for (int i = 0; i < n; i++)
    if (str_eq(node->text, words[i])) {
      *out = i;
      return true;
    }
  spec_fault(l, node->place, SE_WORD, word_help(l, node->text, words, n),
             "%s does not take `%s`", subject(l, node), spec_shown(l, node->text));
  return false;
}
