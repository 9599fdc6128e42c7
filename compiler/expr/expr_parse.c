/* Words → graph, checked as it is read: what a node is made of has the right types, what
 * has not is reported and becomes nothing, which fits everywhere. */
#include "compiler/expr/expr_lex.h"

#include <string.h>

/* A value that was read; e NULL: something in it was reported. */
typedef struct Value {
  const Expr *e;
  size_t from, to; /* bytes of the text */
  bool compares;   /* a comparison without brackets around it */
} Value;

typedef struct Parser {
  ExprGraph *g;
  Arena *arena;
  ExprKind kind;
  ExprParse *out;
  const Token *at;
  int depth;
  bool stopped; /* the order of words was wrong: nothing more is said of it */
  bool quiet;   /* words are missing, as they were none: their order says nothing */
} Parser;

static Value parse_choice(Parser *);

/* ---- words ---- */

static bool
is_sign(const Token *t, const char *text)
{
  return t->kind == TOKEN_SIGN && str_eq(t->text, text);
}

static bool
take(Parser *p, const char *sign)
{
  if (!is_sign(p->at, sign))
    return false;
  p->at++;
  return true;
}

static void
stop(Parser *p, ExprError what, const char *help, const char *message)
{
  if (!p->stopped && !p->quiet)
    expr_fault(p->arena, p->out, what, p->at->at, p->at->n, help, "%s", message);
  p->stopped = true;
  while (p->at->kind != TOKEN_END)
    p->at++;
}

static const char *
shown(Parser *p, const Token *t)
{
  return t->kind == TOKEN_END
             ? "the end"
             : arena_printf(p->arena, "`%s`", expr_shown(p->arena, t->text, t->n));
}

static void
expect(Parser *p, const char *sign, const char *after)
{
  if (!take(p, sign))
    stop(p, EXPR_ERR_SYNTAX, NULL,
         arena_printf(p->arena, "`%s` is expected after %s, not %s", sign, after,
                      shown(p, p->at)));
}

static bool
deeper(Parser *p)
{
  if (++p->depth > EXPR_MAX_DEPTH)
    stop(p, EXPR_ERR_SIZE, "split it: `mask_mod` and `score_mod` may be lists",
         arena_printf(p->arena, "nested deeper than %d", EXPR_MAX_DEPTH));
  return !p->stopped;
}

/* ---- types ---- */

static void type_fault(Parser *, const Value *, const char *help, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void
type_fault(Parser *p, const Value *v, const char *help, const char *fmt, ...)
{
  va_list args;
  va_start(args, fmt);
  const char *message = arena_vprintf(p->arena, fmt, args);
  va_end(args);
  expr_fault(p->arena, p->out, EXPR_ERR_TYPE, v->from, v->to - v->from, help, "%s",
             message);
}

static const char *
type_of(const Value *v)
{
  return expr_type_names[v->e->type];
}

static bool
is_type(const Value *v, ExprType type)
{
  return v->e && v->e->type == type;
}

static const Expr *
as_real(Parser *p, const Expr *e)
{
  return e->type == EXPR_I32 ? expr_op(p->g, EXPR_OP_F32, e, NULL, NULL) : e;
}

/* i32 beside f32 becomes f32. */
static void
unify(Parser *p, Value *a, Value *b)
{
  if (a->e->type == b->e->type)
    return;
  a->e = as_real(p, a->e);
  b->e = as_real(p, b->e);
}

static bool
want_numbers(Parser *p, ExprOp op, Value *v, int n)
{
  bool fine = true;
  for (int i = 0; i < n; i++) {
    if (!is_type(&v[i], EXPR_BOOL))
      continue;
    bool order = expr_ops[op].rule == WANT_ORDER;
    type_fault(p, &v[i],
               order && v[i].compares ? "comparisons do not chain: write `a < b && b < c`"
                                      : "make it a number: `x ? 1 : 0`",
               "`%s` takes numbers, not bool", expr_ops[op].text);
    fine = false;
  }
  return fine;
}

static bool
want_type(Parser *p, ExprOp op, Value *v, int n, ExprType type, const char *help)
{
  bool fine = true;
  for (int i = 0; i < n; i++) {
    if (!v[i].e || v[i].e->type == type)
      continue;
    type_fault(p, &v[i], help, "`%s` takes %s, not %s", expr_ops[op].text,
               expr_type_names[type], type_of(&v[i]));
    fine = false;
  }
  return fine;
}

static bool
want_whole(Parser *p, ExprOp op, Value *v, int n)
{
  bool fine = true;
  for (int i = 0; i < n; i++) {
    const char *help = is_type(&v[i], EXPR_F32) ? op == EXPR_OP_FLOOR_DIV
                                                      ? "of f32 write `floor(x / y)`"
                                                      : "convert it: `i32(x)`"
                       : op == EXPR_OP_BIT_NOT  ? "write `!`"
                                                : "make it a number: `x ? 1 : 0`";
    fine = want_type(p, op, &v[i], 1, EXPR_I32, help) && fine;
  }
  return fine;
}

static bool
want_alike(Parser *p, const char *what, Value *a, Value *b)
{
  if (!a->e || !b->e)
    return false;
  if ((a->e->type == EXPR_BOOL) == (b->e->type == EXPR_BOOL))
    return true;
  type_fault(p, b, NULL, "%s %s and %s", what, type_of(a), type_of(b));
  return false;
}

/* `&`, `|`, `^` of bools are what && , || and != are: no operand has an effect. */
static ExprOp
of_bools(ExprOp op, const Value *v)
{
  if (expr_ops[op].n < 2 || !is_type(&v[0], EXPR_BOOL) || !is_type(&v[1], EXPR_BOOL))
    return op;
  return op == EXPR_OP_BIT_AND   ? EXPR_OP_AND
         : op == EXPR_OP_BIT_OR  ? EXPR_OP_OR
         : op == EXPR_OP_BIT_XOR ? EXPR_OP_NE
                                 : op;
}

static bool
check_choice(Parser *p, Value *v)
{
  bool fine = want_type(p, EXPR_OP_COND, v, 1, EXPR_BOOL, "compare it: `x != 0`");
  return want_alike(p, "`?` chooses between", &v[1], &v[2]) && fine;
}

static bool
check(Parser *p, ExprOp op, Value *v, int n)
{
  switch (expr_ops[op].rule) {
  case WANT_NUMBER:
  case WANT_ORDER:
  case WANT_REAL:
  case WANT_TO_F32:
  case WANT_TO_I32:
    return want_numbers(p, op, v, n);
  case WANT_WHOLE:
    return want_whole(p, op, v, n);
  case WANT_LOGIC:
    return want_type(p, op, v, n, EXPR_BOOL, "compare it: `x != 0`");
  case WANT_EQUAL:
    return want_alike(p, arena_printf(p->arena, "`%s` compares", expr_ops[op].text), &v[0],
                      &v[1]);
  default:
    return check_choice(p, v);
  }
}

static void
convert(Parser *p, ExprOp op, Value *v, int n)
{
  ExprRule rule = expr_ops[op].rule;
  for (int i = 0; rule == WANT_REAL && i < n; i++)
    v[i].e = as_real(p, v[i].e);
  if (rule == WANT_CHOICE)
    unify(p, &v[1], &v[2]);
  else if (n == 2)
    unify(p, &v[0], &v[1]);
}

/* Of the operands of `op` one value. */
static const Expr *
make(Parser *p, ExprOp op, Value *v)
{
  op = of_bools(op, v);
  int n = expr_ops[op].n;
  bool fine = check(p, op, v, n);
  for (int i = 0; i < n; i++)
    fine = fine && v[i].e;
  if (!fine)
    return NULL;
  convert(p, op, v, n);
  if ((op == EXPR_OP_I32 && v[0].e->type == EXPR_I32) ||
      (op == EXPR_OP_F32 && v[0].e->type == EXPR_F32))
    return v[0].e;
  return expr_op(p->g, op, v[0].e, n > 1 ? v[1].e : NULL, n > 2 ? v[2].e : NULL);
}

/* ---- names ---- */

/* How others write what the language has, or why it has it not. */
static const char *
other_name(const char *name)
{
  static const char *const others[][2] = {
      {"and", "write `&&`"},
      {"or", "write `||`"},
      {"not", "write `!`"},
      {"True", "write `true`"},
      {"False", "write `false`"},
      {"where", "write `condition ? x : y`"},
      {"if", "write `condition ? x : y`"},
      {"clamp", "write `min(max(x, low), high)`"},
      {"pow", "write `exp2(y * log2(x))`"},
      {"log", "write `log2(x) * 0.6931472`"},
      {"ln", "write `log2(x) * 0.6931472`"},
      {"rsqrt", "write `1 / sqrt(x)`"},
      {"fabs", "write `abs(x)`"},
      {"int", "write `i32(x)`"},
      {"float", "write `f32(x)`"},
      {"maximum", "write `max(x, y)`"},
      {"minimum", "write `min(x, y)`"},
      {"i", "the query's index is `q_idx`"},
      {"k_idx", "the key's index is `kv_idx`"},
      {"kv", "the key's index is `kv_idx`"},
      {"j", "the key's index is `kv_idx`"},
      {"head", "the query head's index is `h`"},
      {"batch", "the batch's index is `b`"},
      {"seqlen_q", "the number of queries is `sq`"},
      {"seqlen_k", "the number of keys is `sk`"},
      {"offset", "where sq and sk differ, the last query is at `sk - sq + q_idx`"},
      {"nan", "there is no such number: `inf` and `-inf` are"}};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (str_eq(others[i][0], name))
      return others[i][1];
  return NULL;
}

static int
find_call(const char *name)
{
  for (int op = 0; op < EXPR_OPS; op++)
    if (expr_ops[op].form == FORM_CALL && str_eq(expr_ops[op].text, name))
      return op;
  return -1;
}

static int
find_var(const char *name)
{
  for (int i = 0; i < EXPR_VARS; i++)
    if (str_eq(expr_vars[i].name, name))
      return i;
  return -1;
}

static int
find_scalar(const ExprNames *names, const char *name)
{
  for (int i = 0; i < names->n_scalars; i++)
    if (str_eq(names->scalars[i], name))
      return i;
  return -1;
}

static int
find_tensor(const ExprNames *names, const char *name)
{
  for (int i = 0; i < names->n_tensors; i++)
    if (str_eq(names->tensors[i].name, name))
      return i;
  return -1;
}

static const char *
nearest(Parser *p, const char *name)
{
  const ExprNames *names = p->g->names;
  const char **all = NEW_N(p->arena, const char *,
                           EXPR_VARS + EXPR_OPS + names->n_scalars + names->n_tensors);
  int n = 0;
  for (int i = 0; i < EXPR_VARS; i++)
    all[n++] = expr_vars[i].name;
  for (int i = 0; i < EXPR_OPS; i++)
    if (expr_ops[i].form == FORM_CALL)
      all[n++] = expr_ops[i].text;
  for (int i = 0; i < names->n_scalars; i++)
    all[n++] = names->scalars[i];
  for (int i = 0; i < names->n_tensors; i++)
    all[n++] = names->tensors[i].name;
  const char *near = str_nearest(name, all, n);
  return near ? arena_printf(p->arena, "did you mean `%s`?", near) : NULL;
}

static void
refuse_name(Parser *p, const Token *t)
{
  const char *help = other_name(t->text);
  const char *what = is_sign(t + 1, "(")   ? "function"
                     : is_sign(t + 1, "[") ? "tensor"
                                           : "name";
  if (!help)
    help = nearest(p, t->text);
  if (!help)
    help = what[0] == 't' ? "declare it in `tensors`"
           : what[0] == 'n'
               ? "numbers of the call are declared in `scalars`; its indices are `b`, `h`, "
                 "`hk`, `q_idx`, `kv_idx`, its lengths `sq`, `sk`"
               : "docs/expressions.md has the functions";
  expr_fault(p->arena, p->out, EXPR_ERR_NAME, t->at, t->n, help, "unknown %s %s", what,
             shown(p, t));
}

/* ---- lists: operands of a call, indices ---- */

/* Values up to `close`; those past the room are read and only counted. */
static int
parse_list(Parser *p, const char *close, Value *to, int room)
{
  Value beyond;
  int n = 0;
  if (take(p, close))
    return 0;
  do {
    Value v = parse_choice(p);
    *(n < room ? &to[n] : &beyond) = v;
    n++;
  } while (take(p, ","));
  expect(p, close, "this list");
  return n;
}

static void
refuse_count(Parser *p, const Token *name, size_t to, int n, int due, const char *what)
{
  if (!p->stopped)
    expr_fault(p->arena, p->out, EXPR_ERR_ARITY, name->at, to - name->at, NULL,
               "`%s` takes %d %s, not %d", name->text, due, what, n);
}

static size_t
end_of_last(const Parser *p)
{
  return p->at[-1].at + p->at[-1].n;
}

/* What follows a name that does not take it is read and passed over. */
static void
refuse_brackets(Parser *p, const Token *name, bool known)
{
  Value v[1];
  bool call = is_sign(p->at, "(");
  if (!call && !is_sign(p->at, "["))
    return;
  p->at++;
  parse_list(p, call ? ")" : "]", v, 1);
  if (known)
    expr_fault(p->arena, p->out, EXPR_ERR_ARITY, name->at, name->n, NULL, "`%s` is no %s",
               name->text, call ? "function" : "tensor");
}

static const Expr *
parse_call(Parser *p, const Token *name, ExprOp op)
{
  Value v[3] = {{0}};
  if (!take(p, "(")) {
    expr_fault(p->arena, p->out, EXPR_ERR_ARITY, name->at, name->n,
               arena_printf(p->arena, "write `%s(…)`", name->text), "`%s` is a function",
               name->text);
    return NULL;
  }
  int n = parse_list(p, ")", v, 3), due = expr_ops[op].n;
  if (n == due)
    return make(p, op, v);
  refuse_count(p, name, end_of_last(p), n, due, due == 1 ? "operand" : "operands");
  return NULL;
}

static bool
check_index(Parser *p, const Token *name, const Value *v)
{
  if (!v->e || v->e->type == EXPR_I32)
    return v->e != NULL;
  expr_fault(p->arena, p->out, EXPR_ERR_INDEX, v->from, v->to - v->from,
             v->e->type == EXPR_F32 ? "convert it: `i32(x)`" : NULL,
             "an index of `%s` is i32, not %s", name->text, type_of(v));
  return false;
}

static const Expr *
parse_load(Parser *p, const Token *name, int tensor)
{
  const ExprTensor *t = &p->g->names->tensors[tensor];
  const Expr *index[EXPR_AXES];
  Value v[EXPR_AXES] = {{0}};
  if (!take(p, "[")) {
    expr_fault(p->arena, p->out, EXPR_ERR_ARITY, name->at, name->n,
               arena_printf(p->arena, "write `%s[…]`", t->name),
               "`%s` is a tensor of %d %s", t->name, t->n_axes,
               t->n_axes == 1 ? "axis" : "axes");
    refuse_brackets(p, name, false);
    return NULL;
  }
  int n = parse_list(p, "]", v, EXPR_AXES);
  bool fine = n == t->n_axes;
  if (!fine)
    refuse_count(p, name, end_of_last(p), n, t->n_axes,
                 t->n_axes == 1 ? "index" : "indices");
  for (int i = 0; i < n && i < EXPR_AXES; i++) {
    fine = check_index(p, name, &v[i]) && fine;
    index[i] = v[i].e;
  }
  return fine ? expr_load(p->g, tensor, index) : NULL;
}

/* ---- operands ---- */

static const Expr *
parse_variable(Parser *p, const Token *t, ExprVar v)
{
  if (v != EXPR_SCORE || p->kind == EXPR_IS_SCORE)
    return expr_var(p->g, v);
  expr_fault(p->arena, p->out, EXPR_ERR_PLACE, t->at, t->n,
             "a `score_mod` has it: `… ? score : -inf`", "a mask does not know `%s`",
             t->text);
  return NULL;
}

static const Expr *
parse_plain_name(Parser *p, const Token *t)
{
  const ExprNames *names = p->g->names;
  int i;
  if (str_eq(t->text, "true") || str_eq(t->text, "false"))
    return expr_bool(p->g, t->text[0] == 't');
  if (str_eq(t->text, "inf"))
    return expr_float(p->g, __builtin_inff());
  if ((i = find_var(t->text)) >= 0)
    return parse_variable(p, t, (ExprVar)i);
  if ((i = find_scalar(names, t->text)) >= 0)
    return expr_scalar(p->g, i);
  refuse_name(p, t);
  return NULL;
}

static const Expr *
parse_name(Parser *p)
{
  const Token *t = p->at++;
  int i;
  if ((i = find_call(t->text)) >= 0)
    return parse_call(p, t, (ExprOp)i);
  if ((i = find_tensor(p->g->names, t->text)) >= 0)
    return parse_load(p, t, i);
  int before = p->out->faults.n;
  const Expr *e = parse_plain_name(p, t);
  bool known = p->out->faults.n == before;
  refuse_brackets(p, t, known);
  return e;
}

static const Expr *
parse_number(Parser *p, bool negative)
{
  const Token *t = p->at++;
  if (t->kind == TOKEN_REAL)
    return expr_float(p->g, negative ? -t->real : t->real);
  uint32_t bits = (uint32_t)t->whole;
  if (!negative && !t->hex && t->whole > INT32_MAX) {
    expr_fault(p->arena, p->out, EXPR_ERR_NUMBER, t->at, t->n,
               "a fraction, `1e10`, is an f32", "`%s` is no i32", t->text);
    return NULL;
  }
  return expr_int(p->g, (int32_t)(negative ? 0u - bits : bits));
}

static Value
parse_operand(Parser *p)
{
  Value v = {.from = p->at->at};
  const Token *t = p->at;
  if (t->kind == TOKEN_NAME) {
    v.e = parse_name(p);
  } else if (t->kind == TOKEN_WHOLE || t->kind == TOKEN_REAL) {
    v.e = parse_number(p, false);
  } else if (take(p, "(")) {
    v.e = parse_choice(p).e;
    expect(p, ")", "this bracket");
  } else {
    stop(p, EXPR_ERR_SYNTAX, is_sign(t, "+") ? "leave it out" : NULL,
         arena_printf(p->arena, "a value is expected, not %s", shown(p, t)));
    return v;
  }
  v.to = end_of_last(p);
  return v;
}

static Value
parse_prefix(Parser *p)
{
  Value v = {.from = p->at->at};
  int op = -1;
  for (int i = 0; i < EXPR_OPS; i++)
    if (expr_ops[i].form == FORM_PREFIX && is_sign(p->at, expr_ops[i].text))
      op = i;
  if (op < 0)
    return parse_operand(p);
  p->at++;
  bool number = p->at->kind == TOKEN_WHOLE || p->at->kind == TOKEN_REAL;
  if (op == EXPR_OP_NEG && number) {
    v.e = parse_number(p, true);
  } else if (deeper(p)) {
    Value operand = parse_prefix(p);
    v.e = make(p, (ExprOp)op, &operand);
    p->depth--;
  }
  v.to = end_of_last(p);
  return v;
}

/* ---- operators ---- */

static int
infix_at(const Token *t)
{
  for (int i = 0; i < EXPR_OPS; i++)
    if (expr_ops[i].form == FORM_INFIX && is_sign(t, expr_ops[i].text))
      return i;
  return -1;
}

static bool
is_order(ExprOp op)
{
  return expr_ops[op].rule == WANT_ORDER || expr_ops[op].rule == WANT_EQUAL;
}

/* Operators that bind at least as strongly as `least`; all group from the left. */
static Value
parse_infix(Parser *p, int least)
{
  Value left = parse_prefix(p);
  int op;
  while ((op = infix_at(p->at)) >= 0 && expr_ops[op].precedence >= least) {
    p->at++;
    Value v[2] = {left, parse_infix(p, expr_ops[op].precedence + 1)};
    left = (Value){.e = make(p, (ExprOp)op, v),
                   .from = v[0].from,
                   .to = end_of_last(p),
                   .compares = is_order((ExprOp)op)};
  }
  return left;
}

static Value
parse_choice(Parser *p)
{
  if (!deeper(p))
    return (Value){0};
  Value v[3] = {parse_infix(p, expr_ops[EXPR_OP_OR].precedence)}, whole = v[0];
  if (take(p, "?")) {
    v[1] = parse_choice(p);
    expect(p, ":", "what `?` chooses");
    v[2] = parse_choice(p);
    whole = (Value){make(p, EXPR_OP_COND, v), v[0].from, end_of_last(p), false};
  }
  p->depth--;
  return whole;
}

/* ---- the whole ---- */

static void
finish(Parser *p, Value *v)
{
  if (p->at->kind != TOKEN_END)
    stop(p, EXPR_ERR_SYNTAX,
         is_sign(p->at, ",") ? "masks are and-ed by `&&`, or written as a list"
                             : other_name(p->at->text),
         arena_printf(p->arena, "an operator is expected, not %s", shown(p, p->at)));
  if (!v->e || p->stopped || p->quiet)
    return;
  if (p->kind == EXPR_IS_MASK && v->e->type != EXPR_BOOL) {
    type_fault(p, v, "compare it: `x != 0`", "a mask is bool, this is %s", type_of(v));
    return;
  }
  if (p->kind == EXPR_IS_SCORE && v->e->type == EXPR_BOOL) {
    type_fault(p, v, "write `x ? score : -inf`", "a score is f32, this is bool");
    return;
  }
  if (!p->out->faults.n)
    p->out->root = as_real(p, v->e);
}

static void
sort_faults(ExprParse *out)
{
  for (int i = 1; i < out->faults.n; i++)
    for (int k = i; k > 0 && out->faults.at[k - 1].at > out->faults.at[k].at; k--) {
      ExprFault f = out->faults.at[k];
      out->faults.at[k] = out->faults.at[k - 1];
      out->faults.at[k - 1] = f;
    }
}

void
expr_parse(ExprGraph *g, const char *text, ExprKind kind, ExprParse *out)
{
  Tokens tokens = {0};
  *out = (ExprParse){0};
  Parser p = {.g = g, .arena = g->arena, .kind = kind, .out = out};
  if (!expr_lex(g->arena, text, out, &tokens))
    return;
  p.at = tokens.at;
  p.quiet = out->faults.n > 0;
  if (p.at->kind == TOKEN_END && !out->faults.n) {
    stop(&p, EXPR_ERR_SYNTAX, "leave the field out to change nothing",
         "the expression is empty");
    return;
  }
  bool readable = p.at->kind != TOKEN_END;
  Value v = readable ? parse_choice(&p) : (Value){0};
  if (readable)
    finish(&p, &v);
  sort_faults(out);
}
