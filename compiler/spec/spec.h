/* spec.h: a checked spec: what is computed, never how.
 *
 * Made only by attnc_spec_load, immutable afterwards, owned by its arena, counted by
 * references.  The canonical text lists, sorted by key, the fields that differ from their
 * defaults, one `key: value` a line; the identity of a field (spec_fields.def) says which
 * are never in it, and which only where they are specialised (constants of the kernel). */
#ifndef ATTNC_COMPILER_SPEC_H
#define ATTNC_COMPILER_SPEC_H

#include "base/call.h"
#include "base/diag.h"
#include "compiler/expr/expr.h"
#include "schedule/schedule.h"
#include "base/str.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum Align { ALIGN_BOTTOM_RIGHT, ALIGN_TOP_LEFT } Align;
typedef enum Layout { LAYOUT_BSHD, LAYOUT_BHSD } Layout;
typedef enum Alibi { ALIBI_NONE, ALIBI_H, ALIBI_BH } Alibi;
/* Of all keys, or of the last sq of them, before which all are seen. */
typedef enum MaskBits { MASK_BITS_NONE, MASK_BITS_ALL, MASK_BITS_NEW } MaskBits;
/* Where the pages of k and v are: in one table, in one of each. */
typedef enum PageTable { PAGE_TABLE_NONE, PAGE_TABLE_ONE, PAGE_TABLE_KV } PageTable;
typedef enum LseBase { LSE_BASE_E, LSE_BASE_2 } LseBase;

/* Names that `specialize` may list: the sizes of a call (SPECIALIZE_B is SIZE_B and so on),
 * its strides, and behind them the run-time scalars of spec_fields.def, as
 * SPECIALIZE_softmax_scale. */
#define SCALAR_OF_VALUE(X, key)
#define SCALAR_OF_NOTHING(X, key)
#define SCALAR_OF_PRESENCE(X, key) X(key)
typedef enum Specialize {
#define X(id, name, what) SPECIALIZE_##id,
  ATTNC_SIZE_TABLE(X)
#undef X
      SPECIALIZE_STRIDES,
#define X(key) SPECIALIZE_##key,
#define SPEC_FIELD(key, type, required, initial, lo, hi, step, words, at, identity, ...)   \
  SCALAR_OF_##identity(X, key)
#include "compiler/spec/spec_fields.def"
#undef SPEC_FIELD
#undef X
  SPECIALIZE_COUNT
} Specialize;
extern const char *const specialize_names[SPECIALIZE_COUNT];
/* The same names in one string, for the page: a run-time scalar that is a field is a row of
 * ATTNC_SCALAR_TABLE; a share is a number of the call alone. */
#define SPECIALIZE_SIZE_WORD(id, name, what) #name " "
#define SPECIALIZE_WORD_POSITIVE(field)      " " #field
#define SPECIALIZE_WORD_ANY(field)           " " #field
#define SPECIALIZE_WORD_SHARE(field)         ""
#define SPECIALIZE_SCALAR_WORD(id, name, ops, field, allowed)                              \
  SPECIALIZE_WORD_##allowed(field)
#define SPECIALIZE_WORDS                                                                   \
  ATTNC_SIZE_TABLE(SPECIALIZE_SIZE_WORD)                                                   \
  "strides" ATTNC_SCALAR_TABLE(SPECIALIZE_SCALAR_WORD)

/* A pinned schedule of the spec: what it does not name is left to tuning. */
typedef struct Pin {
  const char *arch, *template_name; /* NULL: any */
  Schedule how;                     /* the template's name in it too */
  Place place;
} Pin;

/* An axis of a declared tensor: a size of the call (q and kv are sq and sk, tq and tk
 * total_q and total_k), or a number. */
typedef struct SpecAxis {
  const char *name; /* NULL: n */
  SizeId size;
  int n;
  int by; /* of a size, above 1: its blocks of so many, as CallAxis has it */
} SpecAxis;
typedef struct SpecAxes {
  SpecAxis at[EXPR_AXES];
  int n;
} SpecAxes;

enum { SPEC_TABLES = 8, SPEC_SCALARS = 8 }; /* that a spec may declare */

/* A tensor that expressions read. */
typedef struct SpecTable {
  const char *name;
  unsigned dtype; /* i32, fp32, fp16, bf16, u32 */
  SpecAxes axes;
  bool monotone; /* along its last axis elements do not decrease */
  int slot;
} SpecTable;
typedef struct SpecBias {
  SpecAxes axes;  /* none: no bias */
  unsigned dtype; /* fp32, fp16, bf16 */
} SpecBias;
/* Rows of a block: queries, keys; 0: no lists. */
typedef struct SpecBlocks {
  int rows[2];
} SpecBlocks;
/* Rotary embedding: of no elements where there is none. */
typedef struct SpecRope {
  int dim;
  bool interleaved;
  unsigned dtype; /* fp32, fp16, bf16: of cosines and sines */
} SpecRope;
/* What op bwd writes the gradient of, besides q, k and v: a table that scores read by b, h,
 * hk, q_idx and kv_idx alone, or the sink. */
typedef struct SpecGrad {
  const char *name; /* "dbias" */
  int slot;         /* of the gradient */
  int table;        /* of `tables` */
  /* Of each of score_mod: itself, its derivative by the score, and by the table's element.
   * NULL: it is the sink. */
  const ExprList *lists;
  const Expr *const *by;
} SpecGrad;
typedef struct SpecGrads {
  const SpecGrad *at;
  int n;
} SpecGrads;
typedef struct SpecTables {
  const SpecTable *at;
  int n;
} SpecTables;

/* A run-time number that expressions read; NaN: the call must give it. */
typedef struct SpecScalar {
  const char *name;
  double initial;
  bool constant; /* of the kernel: `specialize` names it */
  int slot;
} SpecScalar;
typedef struct SpecScalars {
  SpecScalar *at;
  int n;
} SpecScalars;

/* In normal form. */
typedef struct SpecExprs {
  const Expr *const *at;
  const ExprList *lists; /* to evaluate each */
  int n;
} SpecExprs;

/* What mask_mod says of whole rows (expr_rows): no key outside the limits is seen. */
typedef struct SpecKeys {
  const Expr *first, *last;   /* NULL: unbounded */
  ExprList of_first, of_last; /* to evaluate each */
  bool one_range;             /* every key between them is seen */
} SpecKeys;

/* mask_mod in the parts that tiles compute: keys from `first` to `last` of a row (i32,
 * without kv_idx in them; NULL: unbounded), and what is asked of each key (NULL: nothing).
 */
typedef struct SpecMask {
  const Expr *first, *last, *rest;
} SpecMask;

/* Of a number that every call gives: the spec has none. */
#define SPEC_RUN_TIME ((double)INFINITY)

struct attnc_spec {
  Arena *arena;
  int refs; /* atomic */
  const char *name, *doc, *file;
  Dtype dtype[ATTNC_SLOT_COUNT]; /* of tensors whose row leaves it to the spec */
  int head_dim, head_dim_v;
  int group_size; /* h / hk when pinned, 0: any */
  /* The band: what of all masks is one.  causal: nothing to the right; then window[1] is 0
   * where window[0] is bounded, else -1.  With prefix_len it is no bound, as keys before
   * the prefix's end are seen besides. */
  bool causal;
  Align align;
  int window[2]; /* left, right, inclusive; -1: unbounded */
  /* Sugar over expressions (spec_sugar.c): the fields are what the canonical text has, what
   * they mean is in mask_mod and score_mod. */
  bool prefix_len;
  int attention_chunk; /* 0: none */
  unsigned mask_bits;  /* MaskBits */
  SpecBlocks block_list;
  double softcap; /* NaN: none; SPEC_RUN_TIME */
  Alibi alibi_slopes;
  SpecBias bias;
  unsigned sink;      /* 0: none; of fp32, fp16, bf16 */
  SpecExprs mask_mod; /* none, or what of the masks is no band; and-ed with it */
  SpecKeys keys;      /* of mask_mod, where there is one */
  SpecMask mask;
  SpecExprs score_mod;           /* applied in order */
  SpecExprs score_slope;         /* of each its derivative; lists of both, it behind */
  SpecExprs own_mask, own_score; /* of them what no field says */
  SpecExprs sink_logit;          /* none, or one more logit of each row */
  SpecTables tensors;            /* that are declared */
  SpecScalars scalars;
  /* What expressions read, by the index that the graph's nodes have. */
  SpecTables tables;
  SpecScalars numbers;
  const ExprGraph *graph; /* of the expressions */
  ExprCost mask_cost;     /* of what is asked of each key (mask.rest) */
  ExprCost score_cost;    /* of score_mod */
  double softmax_scale;   /* NaN: 1 / sqrt(head_dim) */
  bool dropout;
  bool return_lse, return_o_lo;
  bool batch_invariant;
  LseBase lse_base;
  unsigned seqlens;    /* bits 1u << word of the field; asked for by spec_has_tensor */
  unsigned page_table; /* PageTable */
  unsigned grad;       /* bits of its words, and behind them of `tensors` */
  SpecGrads grads;     /* of it what is written */
  bool deterministic;
  bool append;
  bool shared_prefix;
  SpecRope rope;
  unsigned o_parts;                /* fp32, fp16, bf16 */
  Layout layout[ATTNC_SLOT_COUNT]; /* of those: names shapes in files, nothing else */
  unsigned specialize;             /* bits 1u << Specialize */
  const Pin *pins;
  int n_pins;
  const char *canonical;
  char hash[65];
  const char *json, *why; /* attnc_spec_why */
  char json_hash[65];     /* of the JSON: the pins are in it, which `hash` leaves out */
  const char *text;       /* as it was loaded */
  size_t text_n;
  const struct Signature *call[ATTNC_OP_COUNT]; /* of each op */
  const char *call_json[ATTNC_OP_COUNT];        /* what attnc_spec_signature says */
};
typedef struct attnc_spec Spec;

const char *spec_json_hash(const Spec *);
double spec_scale(const Spec *); /* softmax_scale, or its default */
bool spec_specializes(const Spec *, Specialize);
/* By a field's key: does it say another thing than its default; its number, with its
 * default, NaN where it has none; is it a run-time scalar that `specialize` names? */
bool spec_has(const Spec *, const char *key);
double spec_number(const Spec *, const char *key);
/* Has its call the tensor of this slot of the table? */
bool spec_has_tensor(const Spec *, int slot);
/* Have its sequences lengths of their own? */
bool spec_has_seqlens(const Spec *);
bool spec_has_lengths(const Spec *); /* may sequences have fewer queries or keys? */
/* Of the sizes of a problem those by which a schedule may be chosen; others are open. */
static inline attnc_sizes
spec_hints(const Spec *s, const attnc_sizes *n)
{
  attnc_sizes of_row = {
      .size = sizeof of_row, .b = n->b > 0, .h = n->h, .hk = n->hk, .sq = n->sq};
  of_row.num_splits = n->num_splits;
  return s->batch_invariant ? of_row : *n;
}
bool spec_is_constant(const Spec *, const char *key);
/* Do all tensors that `dtype` speaks of have the same? */
bool spec_one_dtype(const Spec *);
/* The first pin for this target and template (either may be NULL in the pin), or NULL. */
const Pin *spec_pin(const Spec *, const char *target, const char *template_name);

/* No size of a call is above this, so that sums of two, or of one with a bound of the mask,
 * stay in 32 bits. */
#define SIZE_LIMIT ((int64_t)1 << 30)

/* The mask as one rule on (q_idx, kv_idx): kv_idx - q_idx in [lo, hi] after adding
 * `shift` = 0 (top-left) or sk - sq (bottom-right) to q_idx; INT_MIN / INT_MAX unbounded.
 * Causal and window are and-ed.  A bound that no sequence reaches is none: a query's
 * position plus a bound stays below 2^31. */
typedef struct Band {
  int lo, hi;
  bool bottom_right;
} Band;
Band spec_band(const Spec *);
/* Does the call list the blocks that are seen? */
bool spec_has_lists(const Spec *);
/* Do masks hide keys of blocks that are seen? */
bool mask_hides_in_blocks(const Spec *);
/* Does the mask hide nothing; may it hide keys before the first, behind the last that a row
 * sees?  In tiles of blocks that lists name. */
bool mask_is_full(const Spec *);
bool mask_cuts_left(const Spec *);
bool mask_cuts_right(const Spec *);
Dtype spec_table_dtype(const SpecTable *);
/* Of its length: the call's, or a constant. */
int64_t spec_axis_length(const SpecAxis *, const attnc_sizes *);
/* Does an expression read the table, by its index in `tables`, or a walk; does the mask? */
bool spec_reads_table(const Spec *, int table);
bool spec_mask_reads(const Spec *, int table);
/* Is the index of a table the number of a block, so that rows or keys of a tile may be in
 * one? */
bool spec_index_is_block(const Expr *);
/* Does the mask read the table by what another one holds; does it ask such a variable? */
bool spec_mask_indexes_by_element(const Spec *, int table);
bool spec_mask_asks(const Spec *, ExprVar);
/* Has the mask parts of which intervals say nothing, whatever the tile: elements of a table
 * that are neither in order nor a block's, bits of an index, numbers of f32? */
bool spec_mask_is_open(const Spec *);
/* The load of score_mod that reads an element of its own for each query and key, so that a
 * tile of scores has a tile of the table beside it: its last axes are q and kv, those
 * before are b and one of heads.  The first one of several; NULL: there is none. */
const Expr *spec_score_tile(const Spec *);
/* Are a row's keys one range, whose limits are known?  Those of lists are not. */
bool mask_is_one_range(const Spec *);
/* Whether anything but a band and a scale decides what is computed. */
bool spec_has_expressions(const Spec *);
/* Does a score change by another amount than the scaled product that it was? */
bool spec_score_has_slope(const Spec *);
/* Are scores scaled products and nothing else? */
bool spec_score_is_plain(const Spec *);

#endif
