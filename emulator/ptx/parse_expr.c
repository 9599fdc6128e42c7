/* Constant expressions: PTX ISA, "Constant Expressions". Whole numbers are of 64 bits,
 * signed unless they are too large for that or end in U; floats are doubles. */
#include "emulator/ptx/parse.h"

#include <string.h>

enum { LOWEST = 1 };

static const struct Operator {
  char text[3];
  int level; /* the higher one binds first */
} operators[] = {
    {"||", 1}, {"&&", 2}, {"==", 6}, {"!=", 6}, {"<=", 7}, {">=", 7},
    {"<<", 8}, {">>", 8}, {"|", 3},  {"^", 4},  {"&", 5},  {"<", 7},
    {">", 7},  {"+", 9},  {"-", 9},  {"*", 10}, {"/", 10}, {"%", 10},
};

/* The operator that is next: of two characters first. */
static const struct Operator *
operator_here(const Parse *s)
{
  const Token *t = &s->lex.now;
  for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
    size_t n = strlen(operators[i].text);
    if (t->kind == TK_PUNCT && s->lex.end - t->p >= (ptrdiff_t)n &&
        !memcmp(t->p, operators[i].text, n))
      return &operators[i];
  }
  return NULL;
}

static double
real(const Constant *c)
{
  double d;
  float f;
  if (c->kind == TK_FLOAT64) {
    memcpy(&d, &c->bits, sizeof d);
    return d;
  }
  if (c->kind == TK_FLOAT32) {
    memcpy(&f, &c->bits, sizeof f);
    return (double)f;
  }
  return c->no_sign ? (double)c->bits : (double)(int64_t)c->bits;
}

static Constant
whole(uint64_t bits, bool no_sign)
{
  return (Constant){TK_INT, no_sign, bits};
}

static Constant
with_real(double d)
{
  Constant c = {.kind = TK_FLOAT64};
  memcpy(&c.bits, &d, sizeof d);
  return c;
}

static bool
is(const char *op, const char *text)
{
  return !strcmp(op, text);
}

static Constant
binary_real(const char *op, double a, double b, const Parse *s)
{
  if (is(op, "+"))
    return with_real(a + b);
  if (is(op, "-"))
    return with_real(a - b);
  if (is(op, "*"))
    return with_real(a * b);
  if (is(op, "/"))
    return with_real(a / b);
  int order = a < b ? -1 : a > b ? 1 : 0;
  bool equal = a == b, yes;
  if (is(op, "=="))
    yes = equal;
  else if (is(op, "!="))
    yes = !equal;
  else if (*op == '<' && op[1] != '<')
    yes = order < 0 || (op[1] && equal);
  else if (*op == '>' && op[1] != '>')
    yes = order > 0 || (op[1] && equal);
  else
    lex_fail(&s->lex, "an integer");
  return whole(yes, false);
}

static uint64_t
divide(const Parse *s, const char *op, uint64_t a, uint64_t b, bool no_sign)
{
  if (!b)
    ptx_fail(s->ptx, s->lex.now.line, "a division by zero");
  if (no_sign)
    return *op == '/' ? a / b : a % b;
  if (b == UINT64_MAX) /* -1: the quotient of the least number is no number */
    return *op == '/' ? 0 - a : 0;
  return (uint64_t)(*op == '/' ? (int64_t)a / (int64_t)b : (int64_t)a % (int64_t)b);
}

static uint64_t
shift(const char *op, uint64_t a, uint64_t b, bool no_sign)
{
  if (b > 63)
    return *op == '>' && !no_sign && (int64_t)a < 0 ? UINT64_MAX : 0;
  if (*op == '<')
    return a << b;
  return no_sign ? a >> b : (uint64_t)((int64_t)a >> b);
}

static Constant
binary_whole(const Parse *s, const char *op, const Constant *x, const Constant *y)
{
  uint64_t a = x->bits, b = y->bits;
  bool no_sign = x->no_sign || y->no_sign;
  bool less = no_sign ? a < b : (int64_t)a < (int64_t)b;
  if (is(op, "<<") || is(op, ">>"))
    return whole(shift(op, a, b, x->no_sign), x->no_sign);
  if (is(op, "&&") || is(op, "||"))
    return whole(*op == '&' ? a && b : a || b, false);
  if (is(op, "==") || is(op, "!="))
    return whole((a == b) == (*op == '='), false);
  switch (*op) {
  case '<':
    return whole(less || (op[1] && a == b), false);
  case '>':
    return whole((!less && a != b) || (op[1] && a == b), false);
  case '+':
    return whole(a + b, no_sign);
  case '-':
    return whole(a - b, no_sign);
  case '*':
    return whole(a * b, no_sign);
  case '&':
    return whole(a & b, no_sign);
  case '|':
    return whole(a | b, no_sign);
  case '^':
    return whole(a ^ b, no_sign);
  default:
    return whole(divide(s, op, a, b, no_sign), no_sign);
  }
}

static Constant expression(Parse *, int level);
static Constant choice(Parse *, Constant);
static Constant more(Parse *, Constant left, int level);

static Constant
unary(Parse *s, char op, Constant c)
{
  bool is_real = c.kind != TK_INT;
  if (op == '-' && is_real)
    c.bits ^= 1ull << (c.kind == TK_FLOAT32 ? 31 : 63);
  else if (op == '-')
    c.bits = 0 - c.bits;
  else if (op == '!')
    c = whole(is_real ? real(&c) == 0 : !c.bits, false);
  else if (op == '~' && is_real)
    lex_fail(&s->lex, "an integer");
  else if (op == '~')
    c.bits = ~c.bits;
  return c;
}

static Constant
literal(Parse *s)
{
  Token t = s->lex.now;
  if (t.kind != TK_INT && t.kind != TK_FLOAT32 && t.kind != TK_FLOAT64)
    lex_fail(&s->lex, "a number");
  lex_next(&s->lex);
  bool no_sign = t.kind == TK_INT && (t.bits > INT64_MAX || t.p[t.n - 1] == 'U');
  return (Constant){t.kind, no_sign, t.bits};
}

/* ( expression ), or (.s64) and (.u64) before one. */
static Constant
in_brackets(Parse *s)
{
  bool to_u = lex_take(&s->lex, ".u64");
  if (to_u || lex_take(&s->lex, ".s64")) {
    lex_need(&s->lex, ")");
    Constant c = expression(s, 11);
    if (c.kind != TK_INT)
      c.bits = to_u ? (uint64_t)real(&c) : (uint64_t)(int64_t)real(&c);
    return whole(c.bits, to_u);
  }
  Constant c = choice(s, expression(s, LOWEST));
  lex_need(&s->lex, ")");
  return c;
}

static Constant
primary(Parse *s)
{
  enum { DEEPEST = 100 };
  static const char signs[] = "-+!~";
  Constant c;
  const char *op = signs;
  if (++s->depth > DEEPEST)
    ptx_fail(s->ptx, s->lex.now.line, "too many brackets or signs");
  while (*op && !lex_take(&s->lex, (char[]){*op, 0}))
    op++;
  if (*op)
    c = unary(s, *op, primary(s));
  else
    c = lex_take(&s->lex, "(") ? in_brackets(s) : literal(s);
  s->depth--;
  return c;
}

/* Operators of this level and above, behind what is on their left. */
static Constant
more(Parse *s, Constant left, int level)
{
  const struct Operator *op;
  while ((op = operator_here(s)) && op->level >= level) {
    lex_next(&s->lex);
    if (op->text[1])
      lex_next(&s->lex);
    Constant right = expression(s, op->level + 1);
    left = left.kind == TK_INT && right.kind == TK_INT
               ? binary_whole(s, op->text, &left, &right)
               : binary_real(op->text, real(&left), real(&right), s);
  }
  return left;
}

static Constant
expression(Parse *s, int level)
{
  return more(s, primary(s), level);
}

/* condition ? this : that */
static Constant
choice(Parse *s, Constant condition)
{
  if (!lex_take(&s->lex, "?"))
    return condition;
  Constant yes = choice(s, expression(s, LOWEST));
  lex_need(&s->lex, ":");
  Constant no = choice(s, expression(s, LOWEST));
  return (condition.kind == TK_INT ? condition.bits != 0 : real(&condition) != 0) ? yes
                                                                                  : no;
}

Constant
parse_constant(Parse *s, char before)
{
  Constant first = primary(s);
  first = before ? unary(s, before, first) : first;
  return choice(s, more(s, first, LOWEST));
}

int64_t
parse_offset(Parse *s)
{
  enum { ABOVE_SUMS = 10, SUMS = 9 };
  bool minus = lex_take(&s->lex, "-");
  if (!minus && !lex_take(&s->lex, "+"))
    return 0;
  Constant c = unary(s, minus ? '-' : '+', expression(s, ABOVE_SUMS));
  c = more(s, c, SUMS);
  if (c.kind != TK_INT)
    lex_fail(&s->lex, "an integer");
  return (int64_t)c.bits;
}
