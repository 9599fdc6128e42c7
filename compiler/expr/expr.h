/* expr.h: what `mask_mod` and `score_mod` say, as a graph of typed nodes.
 *
 * A node is made once: equal expressions of a graph are one pointer, operands have smaller
 * numbers than their users, and nothing of a node changes when it is made.  A graph lives
 * in its arena and belongs to one thread while it grows; afterwards any number may read it.
 * Every operator is total: no value of an operand is undefined (docs/expressions.md says
 * each result), so that nothing has to be evaluated lazily.
 *
 * It is a graph of its own beside the index graph of tiles (Idx).  Expressions are made
 * when a spec is loaded, before there is a program whose parameters and loops an Idx could
 * name, and one spec serves many programs at once.  They have types; and i32 wraps, while
 * Idx folds as whole numbers do (a + 1 < b + 1 is a < b), which is right only where nothing
 * wraps.  What the intervals here show not to wrap may become Idx when it is lowered.
 *
 * Errors: the parser collects faults as data; the rest cannot fail but for memory, where
 * the arena jumps. */
#ifndef ATTNC_COMPILER_EXPR_H
#define ATTNC_COMPILER_EXPR_H

#include "base/str.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum ExprType { EXPR_BOOL, EXPR_I32, EXPR_F32 } ExprType;
extern const char *const expr_type_names[];

typedef enum ExprVar {
#define EXPR_VAR(id, name, type, most, what) EXPR_##id,
#include "compiler/expr/expr_ops.def"
#undef EXPR_VAR
  EXPR_VARS
} ExprVar;

typedef enum ExprOp {
#define EXPR_OP(id, text, form, precedence, n, rule, cost) EXPR_OP_##id,
#include "compiler/expr/expr_ops.def"
#undef EXPR_OP
  EXPR_OPS
} ExprOp;

typedef enum ExprForm {
  FORM_LEAF,
  FORM_PREFIX,
  FORM_INFIX,
  FORM_TERNARY,
  FORM_CALL
} ExprForm;

typedef enum ExprRule { /* of operands, and what comes out: expr_ops.def */
                        WANT_LEAF,
                        WANT_NUMBER,
                        WANT_REAL,
                        WANT_WHOLE,
                        WANT_LOGIC,
                        WANT_ORDER,
                        WANT_EQUAL,
                        WANT_CHOICE,
                        WANT_TO_I32,
                        WANT_TO_F32
} ExprRule;

typedef struct ExprOpInfo {
  const char *text;
  ExprForm form;
  int precedence, n;
  ExprRule rule;
  int cost;
} ExprOpInfo;
extern const ExprOpInfo expr_ops[EXPR_OPS];

typedef struct ExprVarInfo {
  const char *name;
  ExprType type;
  int32_t most;
} ExprVarInfo;
extern const ExprVarInfo expr_vars[EXPR_VARS];

enum { EXPR_AXES = 4 }; /* of a tensor */

/* Names that a spec declares, in the order of their declaration. */
typedef struct ExprTensor {
  const char *name;
  ExprType type; /* of an element: i32 or f32 */
  int n_axes;
} ExprTensor;
typedef struct ExprNames {
  const ExprTensor *tensors;
  int n_tensors;
  const char *const *scalars; /* f32 each */
  int n_scalars;
} ExprNames;

typedef struct Expr Expr;
struct Expr {
  ExprOp op;
  ExprType type;
  int n; /* operands; of a load, its indices */
  const Expr *arg[EXPR_AXES];
  int32_t i; /* of a constant its value (bool: 0 or 1), else the variable, scalar, tensor */
  float f;   /* of a constant */
  int id;    /* from 0 */
  unsigned vars; /* bits 1u << ExprVar: which it depends on */
};

typedef struct ExprGraph {
  Arena *arena;
  const ExprNames *names;
  VEC(const Expr *) nodes;
  int *slots; /* a hash table of numbers, -1: free */
  int n_slots;
} ExprGraph;

/* names must outlive the graph. */
ExprGraph *expr_graph(Arena *, const ExprNames *names);

const Expr *expr_bool(ExprGraph *, bool);
const Expr *expr_int(ExprGraph *, int32_t);
const Expr *expr_float(ExprGraph *, float);
const Expr *expr_var(ExprGraph *, ExprVar);
const Expr *expr_scalar(ExprGraph *, int scalar);
/* As many i32 indices as the tensor has axes. */
const Expr *expr_load(ExprGraph *, int tensor, const Expr *const *index);
/* Operands of the right types; the negation of a constant and the f32 of an i32 constant
 * are constants.  a alone, a and b, or all three. */
const Expr *expr_op(ExprGraph *, ExprOp, const Expr *a, const Expr *b, const Expr *c);
/* The same operator over other operands: a load takes n indices. */
const Expr *expr_with(ExprGraph *, const Expr *, const Expr *const *arg);
/* e with `what` in the place of every `score`. */
const Expr *expr_with_score(ExprGraph *, const Expr *e, const Expr *what);

/* The derivative of an f32 by one of its leaves, `score` or a load, all others held: f32.
 * min, max: that of the left operand at a tie; abs, relu: 0 at 0; floor, `//`, `%`,
 * comparisons and casts of i32 change nothing. */
const Expr *expr_derive(ExprGraph *, const Expr *e, const Expr *by);

/* ---- text ---- */

/* What can be wrong; messages say the rest. */
typedef enum ExprError {
  EXPR_ERR_TOKEN,  /* characters that are no word, number or operator */
  EXPR_ERR_SYNTAX, /* words in an order that says nothing */
  EXPR_ERR_NAME,   /* a name that stands for nothing */
  EXPR_ERR_ARITY,  /* too few or too many operands or indices */
  EXPR_ERR_TYPE,   /* an operand of another type */
  EXPR_ERR_INDEX,  /* an index that is not i32 */
  EXPR_ERR_NUMBER, /* a number out of range */
  EXPR_ERR_PLACE,  /* a name that has no meaning here */
  EXPR_ERR_SIZE,   /* too long, too deep */
  EXPR_ERRORS
} ExprError;

typedef struct ExprFault {
  ExprError what;
  size_t at, width; /* bytes of the text */
  const char *message, *help;
} ExprFault;

/* Bounds of one text. */
enum { EXPR_MAX_TOKENS = 2048, EXPR_MAX_DEPTH = 64 };

typedef enum ExprKind { EXPR_IS_MASK, EXPR_IS_SCORE } ExprKind;

typedef struct ExprParse {
  const Expr *root; /* NULL: there are faults */
  VEC(ExprFault) faults;
} ExprParse;

/* A mask is a bool without `score`, a score f32 (an i32 becomes one).  All faults of names
 * and types are found at once, those of the order of words end the reading. */
void expr_parse(ExprGraph *, const char *text, ExprKind, ExprParse *);

/* What parses back to the same node. */
void expr_print(const ExprGraph *, const Expr *, Str *);
/* The fewest digits that read back as the same f32. */
void expr_print_float(float, Str *);

/* ---- meaning ---- */

typedef struct ExprValue {
  int32_t i; /* bool: 0 or 1 */
  double f;
} ExprValue;

/* How f32 is computed: as fp64 (the reference), or each result rounded to fp32.  What is
 * read, and an i32 that becomes one, is an fp32 number in both. */
typedef enum ExprWidth { EXPR_WIDE, EXPR_NARROW } ExprWidth;

/* One operator on constants: the meaning of all of them.  type: of the operands of which
 * all (of CHOICE: the last two) are. */
ExprValue expr_apply(ExprOp, ExprType type, const ExprValue *arg, ExprWidth);

/* A tensor of a call.  The nearest element is read where an index is out of range; where an
 * axis is empty, 0. */
typedef struct ExprTable {
  const void *data;
  int64_t length[EXPR_AXES], stride[EXPR_AXES];
} ExprTable;
typedef ExprValue ExprElement(const void *user, int tensor, const void *data, int64_t at);

typedef struct ExprInput {
  int32_t var[EXPR_VARS]; /* but score */
  double score;
  const double *scalars;
  const ExprTable *tables;
  ExprElement *element;
  const void *user;
  ExprWidth width;
} ExprInput;

/* The nodes below roots, each once, operands before users. */
typedef struct ExprRange ExprRange;
typedef struct ExprList {
  const Expr *const *at;
  int n;
  int *where;             /* by Expr.id, -1: not among them */
  const ExprRange *known; /* of each, by expr_known_ranges; NULL: nobody asked */
} ExprList;
ExprList expr_list(const ExprGraph *, const Expr *const *roots, int n, Arena *);
/* All values of the list, by its order. */
void expr_eval_list(const ExprList *, const ExprInput *, ExprValue *values);
/* One value; for tests and constants, since it makes the list anew. */
ExprValue expr_eval(const ExprGraph *, const Expr *, const ExprInput *);
int64_t expr_nearest(int64_t index, int64_t length);

/* ---- intervals ---- */

/* Of i32; a bool is 0 to 1; of f32 nothing is known. */
struct ExprRange {
  int64_t lo, hi;
};
#define EXPR_ANY ((ExprRange){INT32_MIN, INT32_MAX})

typedef ExprRange ExprLoads(const void *user, int tensor, const ExprRange *index);
typedef bool ExprEnds(const void *user, int tensor);
typedef struct ExprBox {
  ExprRange var[EXPR_VARS];
  ExprLoads *loads; /* NULL: any value */
  ExprEnds *ends;   /* NULL, or of which tensors what `loads` knows is one of its ends */
  const void *user;
} ExprBox;

/* Whatever a call has. */
ExprBox expr_any_box(void);
/* Holds every value that the node takes within the box. */
ExprRange expr_interval(const ExprGraph *, const Expr *, const ExprBox *);
void expr_interval_list(const ExprList *, const ExprBox *, ExprRange *ranges);
/* A node's, from those of its operands. */
ExprRange expr_range_of(const Expr *, const ExprBox *, const ExprRange *arg);

/* Of nodes in normal form and whatever a call has: an index is below its size, which says
 * more of sums than their operands' intervals do. */
void expr_known_ranges(ExprGraph *, ExprList *);

/* ---- normal form, limits, cost ---- */

/* Of i32 and bool alone; the same value for every input of a call.  `norm: 1`. */
const Expr *expr_normal(ExprGraph *, const Expr *);
/* Conjuncts of a mask in normal form, in their order. */
typedef VEC(const Expr *) ExprSet;
void expr_conjuncts(ExprGraph *, const Expr *, ExprSet *);
/* And-ed again, in normal form. */
const Expr *expr_all(ExprGraph *, const ExprSet *);

/* Keys that a row sees: none outside `first` … `last` (i32, without kv_idx in them; NULL:
 * unbounded). */
typedef struct ExprRows {
  const Expr *first, *last;
} ExprRows;
/* Of a mask in normal form; true: all keys between them are seen. */
bool expr_rows(ExprGraph *, const Expr *mask, ExprRows *);

/* A conjunct that is exactly a bound of a band: kv_idx − position from below (left) or from
 * above (right) by `bound`, with position = q_idx + sk − sq (bottom_right) or q_idx. */
typedef struct ExprBound {
  bool right, bottom_right;
  int64_t bound;
} ExprBound;
bool expr_is_bound(ExprGraph *, const Expr *, ExprBound *);
const Expr *expr_of_bound(ExprGraph *, ExprBound);

/* A bit of packed words: `(t[…, x // 32] >> x & 1) == 1`, where x is kv_idx and what does
 * not depend on it. */
typedef struct ExprBit {
  const Expr *load, *at; /* the word's load; x */
} ExprBit;
bool expr_is_bit(const Expr *, ExprBit *);

/* How often a node is computed: once, once a row, a column, an element. */
typedef enum ExprGrade {
  GRADE_NEITHER,
  GRADE_ROW,
  GRADE_COLUMN,
  GRADE_BOTH,
  GRADES
} ExprGrade;
ExprGrade expr_grade(const Expr *);
typedef struct ExprCost {
  int nodes[GRADES], slots[GRADES]; /* leaves are no nodes */
  /* Registers of what is computed once, or once a row, and read for columns and elements;
   * the loads of these, and those of them whose place another load tells. */
  int kept[GRADES], loads, chained;
} ExprCost;
/* Of n expressions together, each part once. */
ExprCost expr_cost(const ExprGraph *, const Expr *const *roots, int n);

#endif
