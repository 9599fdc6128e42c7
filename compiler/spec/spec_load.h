/* spec_load.h: the rooms behind attnc_spec_load, shared by the spec_*.c files only.
 *
 * Text becomes a node tree (spec_yaml.c, the only place that knows libyaml), the tree a
 * checked Spec (spec_check.c), the Spec its texts (spec_print.c).  Everything lives in the
 * arena of the spec; running out of it jumps back to spec_load_limited.  Faults of the text
 * are reported, counted and worked around, so that one load tells all of them; only what
 * makes the rest meaningless (syntax, depth, size) ends the reading. */
#ifndef ATTNC_COMPILER_SPEC_LOAD_H
#define ATTNC_COMPILER_SPEC_LOAD_H

#include "compiler/spec/spec.h"

#include <stdarg.h>

enum { SPEC_MAX_BYTES = 64 * 1024, SPEC_MAX_DEPTH = 8, SPEC_MAX_NODES = 4096 };

typedef enum SpecError {
#define SPEC_ERROR(id, code, meaning, help) SE_##id,
#include "compiler/spec/spec_errors.def"
#undef SPEC_ERROR
  SE_COUNT
} SpecError;

typedef struct SpecErrorInfo {
  int code;
  const char *meaning, *help;
} SpecErrorInfo;
extern const SpecErrorInfo spec_errors[SE_COUNT];

/* Values of a switch are false, true, and its words. */
enum { SWITCH_WORDS = 2 };

typedef enum FieldType {
  FT_VERSION,
  FT_NAME,
  FT_TEXT,
  FT_DTYPES,
  FT_INT,
  FT_BOOL,
  FT_SWITCH, /* false, true, or from SWITCH_WORDS on its words */
  FT_ENUM,
  FT_WINDOW,
  FT_SCALE,
  FT_LAYOUTS,
  FT_NAMES,
  FT_PINS,
  FT_EXPRS,
  FT_TABLES,
  FT_SCALARS,
  FT_AXES, /* of a declared tensor */
  FT_BIAS,
  FT_BLOCKS,
  FT_ROPE,
  FT_PAIR,    /* of whole numbers, in a map */
  FT_TENSORS, /* names of tensors of the call */
  FT_GRADS,   /* … and of those that are declared */
  FT_ARCH,
  FT_SCHED_INT, /* the three of a schedule's fields */
  FT_SCHED_BOOL,
  FT_SCHED_ENUM,
  FT_COUNT
} FieldType;

/* What of a field is part of the kernel (spec_fields.def). */
typedef enum Identity { ID_VALUE, ID_PRESENCE, ID_NOTHING } Identity;

/* A row of spec_fields.def. */
typedef struct Field {
  const char *key;
  FieldType type;
  bool required;
  const char *initial; /* as written in a spec; NULL: none */
  int lo, hi, step;
  const char *words; /* separated by spaces */
  size_t at;         /* offset of the member; of a schedule's field the Schedule's */
  Identity identity;
  const char *doc, *example;
} Field;
/* The number above hi that an INT takes, as written; NULL: none. */
static inline const char *
spec_int_more(const Field *f)
{
  return f->type == FT_INT ? f->words : NULL;
}
enum {
  SPEC_FIELD_COUNT = 0
#define SPEC_FIELD(...) +1
#include "compiler/spec/spec_fields.def"
#undef SPEC_FIELD
  ,
  SPEC_TABLE_FIELD_COUNT = 0
#define TABLE_FIELD(...) +1
#include "compiler/spec/spec_fields.def"
#undef TABLE_FIELD
  ,
  SPEC_BIAS_FIELD_COUNT = 0
#define BIAS_FIELD(...) +1
#include "compiler/spec/spec_fields.def"
#undef BIAS_FIELD
  ,
  SPEC_BLOCKS_FIELD_COUNT = 0
#define BLOCKS_FIELD(...) +1
#include "compiler/spec/spec_fields.def"
#undef BLOCKS_FIELD
  ,
  SPEC_ROPE_FIELD_COUNT = 0
#define ROPE_FIELD(...) +1
#include "compiler/spec/spec_fields.def"
#undef ROPE_FIELD
};
extern const Field spec_fields[SPEC_FIELD_COUNT];
extern const Field spec_table_fields[SPEC_TABLE_FIELD_COUNT]; /* keys of a tensor */
extern const Field spec_bias_fields[SPEC_BIAS_FIELD_COUNT];
extern const Field spec_blocks_fields[SPEC_BLOCKS_FIELD_COUNT];
extern const Field spec_rope_fields[SPEC_ROPE_FIELD_COUNT];
extern const int n_spec_fields;
const Field *spec_field(const char *key); /* NULL: there is none */
/* What a field means nothing without; NULL: nothing. */
const Field *spec_field_needs(const char *key);
/* The keys of `schedule`: its own, then the fields of schedules; in the arena. */
const Field *spec_pin_fields(Arena *, int *n);

typedef enum DocKind { DOC_BAD, DOC_SCALAR, DOC_LIST, DOC_MAP } DocKind;

/* A value of the document.  DOC_BAD was reported already and is to be passed over. */
typedef struct DocNode {
  DocKind kind;
  bool quoted; /* scalar: not plain */
  Place place;
  const char *text; /* scalar: 0-terminated UTF-8 without a 0 inside */
  const char *key;  /* of the map that this is a value of, else NULL */
  Place key_place;
  struct DocNode *first, *next; /* children; sibling */
  int n;                        /* children */
} DocNode;

typedef struct SpecLoad {
  Arena *arena;
  attnc_diags *diags; /* may be NULL */
  const char *text;   /* a copy without the byte order mark, 0-terminated */
  size_t n;
  Spec *spec;
  const struct Keys *pin_keys;
  const DocNode *mask_mod, *score_mod, *specialize,
      *grad;          /* read when all names are known */
  const char *within; /* the field that is being read, for messages on elements */
  int errors;
  struct YamlReader *reader; /* closed by spec_yaml_close, also after a jump */
  jmp_buf no_memory;
} SpecLoad;

/* help NULL: that of the table. */
void spec_fault(SpecLoad *, Place, SpecError, const char *help, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void spec_warn(SpecLoad *, Place, SpecError, const char *help, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* User text as a message may show it: at most 40 bytes, no control characters. */
const char *spec_shown(SpecLoad *, const char *);

/* The root of the document, NULL when there is nothing to check (faults are reported). */
const DocNode *spec_yaml_read(SpecLoad *);
void spec_yaml_close(SpecLoad *);
/* What a plain scalar looks like to readers of YAML 1.1 or 1.2. */
typedef enum Look {
  LOOK_WORD,
  LOOK_NULL,
  LOOK_BOOL,   /* true, false */
  LOOK_BOOL11, /* yes, no, on, off, True … */
  LOOK_INT,
  LOOK_OCTAL,   /* 010: 8 in YAML 1.1, 10 in 1.2 */
  LOOK_RADIX,   /* 0x10, 0o10, 0b10 */
  LOOK_GROUPED, /* 1_000, 1:30 */
  LOOK_SIGNED,  /* +5 */
  LOOK_FLOAT,
  LOOK_NONFINITE, /* .inf, .nan */
} Look;
Look spec_look(const char *);

/* Scalars, reported and false where they are not what is due. */
bool spec_value_text(SpecLoad *, const DocNode *, const char **out);
bool spec_value_bool(SpecLoad *, const DocNode *, bool *out);
bool spec_value_int(SpecLoad *, const DocNode *, const Field *, int *out);
bool spec_value_scale(SpecLoad *, const DocNode *, const Field *, double *out);
/* Finite as fp32. */
bool spec_value_real(SpecLoad *, const DocNode *, double *out);
/* The index in `words`; aliases are suggested, never taken. */
bool spec_value_word(SpecLoad *, const DocNode *, const char *const *words, int n,
                     int *out);
/* false, reported: not of this kind. */
bool spec_value_is(SpecLoad *, const DocNode *, DocKind, const char *due);

/* ---- facts of a spec by its fields (spec_facts.c) ---- */

/* A field of a spec. */
typedef struct Member {
  const Spec *s;
  const Field *f;
  const void *at;
} Member;

static inline Member
spec_member(const Spec *s, const Field *f)
{
  return (Member){s, f, (const char *)s + f->at};
}
static inline int
spec_member_int(Member m)
{
  return *(const int *)m.at;
}
/* Does the field mean what it means when it is left out? */
bool spec_is_default(Member);
/* Of FT_SCALE: with the default of its row, NaN where it has none. */
double spec_member_number(Member);
/* Over the tensors that the spec's `dtype` and `layout` speak of. */
bool spec_tensors_agree(const unsigned v[ATTNC_SLOT_COUNT]);

/* Where bytes of a scalar's text stand in the document; the scalar itself where that
 * cannot be said (escapes). */
Place spec_place_within(const SpecLoad *, const DocNode *, size_t at, size_t width);

/* A name that is declared, of a tensor or a scalar; false, reported: it may not be. */
bool spec_name_is_free(SpecLoad *, const DocNode *named);
/* A row of specs/mods/mods.def. */
typedef struct SpecMod {
  const char *name;
  ExprKind kind;
  const char *parameters, *example, *text, *doc, *source;
} SpecMod;
extern const SpecMod spec_mods[];
extern const int n_spec_mods;
/* The text that a map `{use: NAME, with: {…}}` stands for; NULL, reported: for none. */
const char *spec_mod_text(SpecLoad *, const DocNode *, ExprKind);

/* Expressions, when all else is read: parsed, checked, in normal form; masks and band are
 * one. */
void spec_read_exprs(SpecLoad *);

/* ---- sugar (spec_sugar.c) ---- */

/* Fills `tables` and `numbers`, which the texts and the spec's own expressions read. */
void spec_collect_tables(Spec *);
void spec_collect_numbers(Spec *);
/* Adds what softcap, alibi_slopes and bias make of a score, in this order. */
void spec_sugar_scores(const Spec *, ExprGraph *, ExprSet *);
/* Chunks of so many positions; the chunk of a mask that is exactly one, 0: it is none. */
const Expr *spec_sugar_chunk(const Spec *, ExprGraph *, int chunk, bool bottom_right);
int spec_is_chunk(const Spec *, ExprGraph *, const Expr *, bool bottom_right);
const Expr *spec_sugar_sink(const Spec *, ExprGraph *); /* NULL: none */
/* Causal, or before the end of the prefix. */
const Expr *spec_sugar_prefix(const Spec *, ExprGraph *);
const Expr *spec_sugar_bits(const Spec *, ExprGraph *); /* NULL: none */

/* Of what `seqlens` names, and what needs it (spec_seqlens.c). */
void spec_check_seqlens(SpecLoad *, const DocNode *root);

/* Fills load->spec from the document. */
void spec_check_document(SpecLoad *, const DocNode *root);
/* The n-th of a field's words, NULL past the last. */
const char *spec_word(const Field *, int n, size_t *len);
int spec_words(const Field *); /* how many it has */
/* Fills canonical, hash and json. */
void spec_print(Spec *);
/* The field's line of the canonical text; nothing where it has none. */
void spec_put_line(const Spec *, const Field *, Str *);

/* attnc_spec_load with a limit of its own on memory (0: none): for tests of exhaustion. */
attnc_status spec_load_limited(const char *text, size_t n, const char *name, size_t limit,
                               attnc_spec **, attnc_diags *);

#endif
