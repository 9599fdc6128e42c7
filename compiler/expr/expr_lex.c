/* Expression text → words.  What is no word of the language is reported and passed over. */
#include "compiler/expr/expr_lex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void
expr_fault(Arena *a, ExprParse *p, ExprError what, size_t at, size_t width,
           const char *help, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  const char *message = arena_vprintf(a, fmt, args);
  va_end(args);
  *vec_push(a, &p->faults) = (ExprFault){what, at, width ? width : 1, message, help};
}

const char *
expr_shown(Arena *a, const char *text, size_t n)
{
  enum { MOST = 40 };
  size_t cut = n;
  if (n > MOST)
    for (cut = MOST; cut && ((unsigned char)text[cut] & 0xc0) == 0x80; cut--)
      ;
  char *shown = arena_printf(a, "%.*s%s", (int)cut, text, cut < n ? "…" : "");
  for (char *p = shown; *p; p++)
    if ((unsigned char)*p < 0x20 || *p == 0x7f)
      *p = ' ';
  return shown;
}

static bool
is_digit(char c)
{
  return c >= '0' && c <= '9';
}

static bool
is_name_start(char c)
{
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool
is_name(char c)
{
  return is_name_start(c) || is_digit(c);
}

/* What C, Python and others write, and what it is here. */
static const char *
other_sign(const char *p, size_t *n)
{
  static const struct {
    const char *sign, *help;
  } others[] = {{"**", "there are no powers: write `x * x`, or `exp2(y * log2(x))`"},
                {"->", NULL},
                {"=>", "write `>=`"},
                {"=<", "write `<=`"},
                {"<>", "write `!=`"},
                {"===", "write `==`"},
                {">>>", "write `>>`, which is arithmetic"},
                {"++", "write `+`"},
                {"+=", "write `+`"},
                {"-=", "write `-`"},
                {"*=", "write `*`"},
                {"&=", "write `&&`"},
                {"|=", "write `||`"},
                {"=", "write `==`"},
                {"#", NULL},
                {"@", NULL},
                {"{", "brackets are `(` and `)`"},
                {"}", "brackets are `(` and `)`"},
                {"'", "expressions have no text"},
                {"\"", "expressions have no text"},
                {";", "an expression is one value: and masks by `&&`, or write a list"}};
  static const char *const ours[] = {"<=", ">=", "==", "!=", NULL};
  *n = 0;
  for (int i = 0; ours[i]; i++)
    if (str_starts(p, ours[i]) && p[2] != '=')
      return NULL;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (str_starts(p, others[i].sign)) {
      *n = strlen(others[i].sign);
      return others[i].help;
    }
  return NULL;
}

static size_t
sign_length(const char *p)
{
  static const char *const two[] = {"||", "&&", "==", "!=", "<=", ">=", "<<", ">>", "//"};
  for (size_t i = 0; i < sizeof two / sizeof *two; i++)
    if (str_starts(p, two[i]))
      return 2;
  return *p && strchr("+-*/%<>&|^~!?:(),[]", *p) ? 1 : 0;
}

/* Digits, a point, an exponent, 0x…: as far as it goes with letters that follow, which no
 * number has. */
static size_t
number_length(const char *p)
{
  size_t n = 0;
  for (;; n++) {
    bool exponent = n && (p[n - 1] == 'e' || p[n - 1] == 'E') && !str_starts(p, "0x") &&
                    (p[n] == '+' || p[n] == '-');
    if (!is_name(p[n]) && p[n] != '.' && !exponent)
      return n;
  }
}

static bool
is_whole(const char *s, int64_t *out, bool *hex)
{
  *hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');
  const char *digits = s + (*hex ? 2 : 0);
  size_t n = strspn(digits, *hex ? "0123456789abcdefABCDEF" : "0123456789");
  if (!n || digits[n])
    return false;
  *out = strtoll(digits, NULL, *hex ? 16 : 10); /* saturates */
  return true;
}

/* [0-9]* . [0-9]* and an exponent, with a digit somewhere before that. */
static bool
is_real(const char *s)
{
  size_t before = strspn(s, "0123456789"), after = 0;
  s += before;
  if (*s == '.') {
    after = strspn(s + 1, "0123456789");
    s += 1 + after;
  }
  if (*s == 'e' || *s == 'E') {
    s += 1 + (s[1] == '-' || s[1] == '+');
    size_t n = strspn(s, "0123456789");
    return before + after && n && !s[n];
  }
  return before + after && !*s;
}

static void
read_number(Arena *a, ExprParse *p, Token *t)
{
  const char *shown = expr_shown(a, t->text, t->n);
  t->kind = TOKEN_WHOLE;
  if (is_whole(t->text, &t->whole, &t->hex)) {
    if (!t->hex && t->n > 1 && t->text[0] == '0')
      expr_fault(a, p, EXPR_ERR_TOKEN, t->at, t->n, "remove the leading zeros",
                 "leading zero in `%s`", shown);
    else if (t->whole > (t->hex ? UINT32_MAX : (int64_t)INT32_MAX + 1))
      expr_fault(a, p, EXPR_ERR_NUMBER, t->at, t->n, "a fraction, `1e10`, is an f32",
                 "`%s` is no i32", shown);
    else
      return;
    t->whole = 0;
    return;
  }
  t->kind = TOKEN_REAL;
  if (!is_real(t->text)) {
    size_t n = strlen(t->text);
    bool suffix = n > 1 && strchr("fFuUlL", t->text[n - 1]) != NULL;
    expr_fault(a, p, EXPR_ERR_TOKEN, t->at, t->n, suffix ? "numbers have no suffix" : NULL,
               "`%s` is no number", shown);
    return;
  }
  double v = str_real(t->text);
  t->real = (float)v;
  if (isinf(t->real))
    expr_fault(a, p, EXPR_ERR_NUMBER, t->at, t->n, "write `inf` where that is meant",
               "`%s` is beyond f32", shown);
}

static void
refuse_sign(Arena *a, ExprParse *p, const char *text, size_t at, size_t *n)
{
  const char *help = other_sign(text + at, n);
  int utf8 = str_utf8(text + at);
  *n = *n ? *n : utf8 > 0 ? (size_t)utf8 : 1;
  expr_fault(a, p, EXPR_ERR_TOKEN, at, *n, help, "`%s` is not of this language",
             expr_shown(a, text + at, *n));
}

bool
expr_lex(Arena *a, const char *text, ExprParse *p, Tokens *out)
{
  VEC(Token) list = {0};
  size_t at = strspn(text, " \t\r\n"), n;
  for (; text[at]; at += n + strspn(text + at + n, " \t\r\n")) {
    const char *now = text + at;
    bool number = is_digit(*now) || (*now == '.' && is_digit(now[1]));
    Token t = {.kind = TOKEN_SIGN, .at = at};
    other_sign(now, &n);
    if (number) {
      n = number_length(now);
    } else if (is_name_start(*now)) {
      t.kind = TOKEN_NAME;
      for (n = 1; is_name(now[n]); n++)
        ;
    } else if (n || !(n = sign_length(now))) {
      refuse_sign(a, p, text, at, &n);
      continue;
    }
    t.n = n;
    t.text = arena_strndup(a, now, n);
    if (number)
      read_number(a, p, &t);
    *vec_push(a, &list) = t;
    if (list.n > EXPR_MAX_TOKENS) {
      expr_fault(a, p, EXPR_ERR_SIZE, at, n, NULL, "more than %d words", EXPR_MAX_TOKENS);
      return false;
    }
  }
  *vec_push(a, &list) = (Token){.kind = TOKEN_END, .at = at, .text = ""};
  *out = (Tokens){list.at, list.n};
  return true;
}
