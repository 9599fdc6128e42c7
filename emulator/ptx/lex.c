#include "emulator/ptx/lex.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static bool
name_start(char c)
{
  return isalpha((unsigned char)c) || c == '_' || c == '$' || c == '%';
}

static bool
name_char(char c)
{
  return isalnum((unsigned char)c) || c == '_' || c == '$';
}

static char
at(const Lex *x, int ahead)
{
  return x->end - x->p > ahead ? x->p[ahead] : 0;
}

static bool
skip_comment(Lex *x)
{
  if (at(x, 0) != '/')
    return false;
  if (at(x, 1) == '/') {
    while (x->p < x->end && *x->p != '\n')
      x->p++;
    return true;
  }
  if (at(x, 1) != '*')
    return false;
  int from = x->line;
  for (x->p += 2; at(x, 0) != '*' || at(x, 1) != '/'; x->p++) {
    if (x->p >= x->end)
      ptx_fail(x->ptx, from, "the comment has no end");
    x->line += *x->p == '\n';
  }
  x->p += 2;
  return true;
}

static void
skip_space(Lex *x)
{
  for (;;) {
    while (x->p < x->end && isspace((unsigned char)*x->p)) {
      x->line += *x->p == '\n';
      x->p++;
    }
    if (!skip_comment(x))
      return;
  }
}

static uint64_t
digits(Lex *x, unsigned base)
{
  uint64_t v = 0;
  bool over = false;
  const char *from = x->p;
  for (; x->p < x->end; x->p++) {
    int c = tolower((unsigned char)*x->p);
    unsigned d = isdigit(c)   ? (unsigned)(c - '0')
                 : isalpha(c) ? (unsigned)(c - 'a' + 10)
                              : 99;
    if (d >= base)
      break;
    over |= v > (UINT64_MAX - d) / base;
    v = v * base + d;
  }
  if (x->p == from)
    ptx_fail(x->ptx, x->line, "a number without digits");
  if (over)
    ptx_fail(x->ptx, x->line, "a number of more than 64 bits");
  return v;
}

static void
hex_float(Lex *x, Token *t, int n)
{
  const char *from = x->p += 2;
  t->kind = n == 8 ? TK_FLOAT32 : TK_FLOAT64;
  t->bits = digits(x, 16);
  if (x->p - from != n)
    ptx_fail(x->ptx, x->line, "0f needs 8 hexadecimal digits, 0d 16");
}

static bool
decimal_float(Lex *x, Token *t)
{
  const char *p = x->p;
  while (p < x->end && isdigit((unsigned char)*p))
    p++;
  if (p >= x->end || (*p != '.' && *p != 'e' && *p != 'E'))
    return false;
  char *end;
  double d = strtod(x->p, &end);
  memcpy(&t->bits, &d, sizeof d);
  x->p = end;
  t->kind = TK_FLOAT64;
  return true;
}

static void
number(Lex *x, Token *t)
{
  char second = (char)tolower((unsigned char)at(x, 1));
  bool zero = *x->p == '0';
  t->kind = TK_INT;
  if (zero && second == 'f')
    hex_float(x, t, 8);
  else if (zero && second == 'd')
    hex_float(x, t, 16);
  else if (zero && (second == 'x' || second == 'b')) {
    x->p += 2;
    t->bits = digits(x, second == 'x' ? 16 : 2);
  } else if (!decimal_float(x, t))
    t->bits = digits(x, zero && isdigit((unsigned char)second) ? 8 : 10);
  if (t->kind == TK_INT && at(x, 0) == 'U')
    x->p++;
  if (name_char(at(x, 0)))
    ptx_fail(x->ptx, x->line, "'%c' inside a number", at(x, 0));
}

/* The axis belongs to %tid, %ntid, %ctaid, %nctaid. */
static void
word(Lex *x)
{
  const char *from = x->p++;
  while (x->p < x->end && name_char(*x->p))
    x->p++;
  if (*from == '%' && at(x, 0) == '.' && at(x, 1) >= 'x' && at(x, 1) <= 'z' &&
      !name_char(at(x, 2)))
    x->p += 2;
}

static void
string(Lex *x)
{
  for (x->p++; at(x, 0) != '"'; x->p++)
    if (x->p >= x->end || *x->p == '\n')
      ptx_fail(x->ptx, x->line, "the string has no end");
  x->p++;
}

void
lex_next(Lex *x)
{
  Token *t = &x->now;
  skip_space(x);
  t->p = x->p;
  t->line = x->line;
  t->kind = TK_PUNCT;
  char c = at(x, 0);
  if (x->p >= x->end) {
    t->kind = TK_END;
  } else if (name_start(c) && (c != '%' || name_char(at(x, 1)))) {
    t->kind = TK_NAME;
    word(x);
  } else if (c == '.' && name_start(at(x, 1))) {
    t->kind = TK_DIRECTIVE;
    for (x->p++; name_char(at(x, 0)) || (at(x, 0) == ':' && at(x, 1) == ':'); x->p++)
      x->p += at(x, 0) == ':';
  } else if (isdigit((unsigned char)c) || (c == '.' && isdigit((unsigned char)at(x, 1)))) {
    number(x, t);
  } else if (c == '"') {
    t->kind = TK_STRING;
    string(x);
  } else {
    x->p++;
  }
  t->n = (int)(x->p - t->p);
}

void
lex_start(Lex *x, Ptx *ptx)
{
  *x = (Lex){.ptx = ptx, .p = ptx->text, .end = ptx->text + strlen(ptx->text), .line = 1};
  lex_next(x);
}

bool
lex_is(const Lex *x, const char *text)
{
  int n = (int)strlen(text);
  return x->now.kind != TK_STRING && x->now.n == n && !memcmp(x->now.p, text, (size_t)n);
}

bool
lex_take(Lex *x, const char *text)
{
  if (!lex_is(x, text))
    return false;
  lex_next(x);
  return true;
}

void
lex_fail(const Lex *x, const char *expected)
{
  if (x->now.kind == TK_END)
    ptx_fail(x->ptx, x->now.line, "the text ends where %s is expected", expected);
  ptx_fail(x->ptx, x->now.line, "'%.*s' where %s is expected", x->now.n, x->now.p,
           expected);
}

void
lex_need(Lex *x, const char *text)
{
  if (!lex_take(x, text)) {
    char quoted[40] = "'";
    strncat(quoted, text, 36);
    strcat(quoted, "'");
    lex_fail(x, quoted);
  }
}

char *
lex_name(Lex *x)
{
  if (x->now.kind != TK_NAME)
    lex_fail(x, "a name");
  char *s = arena_strndup(x->ptx->arena, x->now.p, (size_t)x->now.n);
  lex_next(x);
  return s;
}

uint64_t
lex_int(Lex *x, uint64_t max)
{
  if (x->now.kind != TK_INT)
    lex_fail(x, "an integer");
  uint64_t v = x->now.bits;
  if (v > max)
    ptx_fail(x->ptx, x->now.line, "%llu is more than %llu", (unsigned long long)v,
             (unsigned long long)max);
  lex_next(x);
  return v;
}

const char *
lex_mnemonic(Lex *x, int *n)
{
  const char *from = x->now.p;
  while (at(x, 0) == '.' && name_char(at(x, 1))) {
    x->p++;
    while (name_char(at(x, 0)) || (at(x, 0) == ':' && at(x, 1) == ':'))
      x->p += at(x, 0) == ':' ? 2 : 1;
  }
  *n = (int)(x->p - from);
  lex_next(x);
  return from;
}

void
lex_skip_line(Lex *x)
{
  while (x->p < x->end && *x->p != '\n')
    x->p++;
  lex_next(x);
}

void
lex_skip_statement(Lex *x)
{
  while (!lex_take(x, ";")) {
    if (x->now.kind == TK_END)
      lex_fail(x, "';'");
    lex_next(x);
  }
}

void
lex_skip_braces(Lex *x)
{
  int depth = 0, line = x->now.line;
  do {
    if (x->now.kind == TK_END)
      ptx_fail(x->ptx, line, "'{' has no '}'");
    depth += lex_is(x, "{") - lex_is(x, "}");
    lex_next(x);
  } while (depth);
}
