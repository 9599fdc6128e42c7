/* template.h: what a kernel template is: applicable, space, cost, emit, print, in that
 * order in every file; templates/table.c is the only place that names them.
 *
 * A template never fails while emitting: it is called only with a schedule that its own
 * `refuse` lets through, and a fault of its own ends in t_fail (tile.h). */
#ifndef ATTNC_COMPILER_TEMPLATE_H
#define ATTNC_COMPILER_TEMPLATE_H

#include "schedule/schedule.h"
#include "compiler/spec/spec.h"
#include "compiler/build.h"
#include "compiler/target.h"
#include "compiler/tile/tile.h"

#include <string.h>

/* How: a point of a template's space.  `option` holds the values of the template's own
 * table, in its order; the template reads them by name through SCHED_TYPE. */
enum { SCHED_OPTIONS = 24 };
typedef struct Sched {
  const struct Template *tmpl;
  int bm, bn, stages, warps; /* SCHED_COMMON_TABLE, in its order */
  int option[SCHED_OPTIONS];
} Sched;

/* A template's view of its own Sched, `Name`, whose options TABLE(X) declares: rows as in
 * schedule/schedule.h, a member each.  `Name` and Sched begin alike; name_of and sched_of
 * go from one to the other. */
#define SCHED_MEMBER(name, ...) int name;
#define SCHED_TYPE(Name, TABLE, name_of, sched_of)                                         \
  typedef struct Name {                                                                    \
    const struct Template *tmpl;                                                           \
    int bm, bn, stages, warps;                                                             \
    TABLE(SCHED_MEMBER)                                                                    \
  } Name;                                                                                  \
  _Static_assert(sizeof(Name) <= sizeof(Sched), "SCHED_OPTIONS");                          \
  static inline const Name *name_of(const Sched *s)                                        \
  {                                                                                        \
    return (const Name *)(const void *)s;                                                  \
  }                                                                                        \
  static inline Sched sched_of(Name own)                                                   \
  {                                                                                        \
    Sched s = {0};                                                                         \
    memcpy(&s, &own, sizeof own);                                                          \
    return s;                                                                              \
  }

/* What a schedule takes and is estimated to cost. */
typedef struct SchedCost {
  int smem;      /* bytes, exact */
  int regs;      /* a thread, estimate of the values that live in the main loop */
  int ctas_sm;   /* resident blocks on a multiprocessor */
  double cycles; /* for the problem's sizes, whole grid on `sms` multiprocessors */
  /* KB on their way to a multiprocessor from memory, and as many as its latency asks for,
   * of templates whose keys are read at the memory's speed; 0: of others. */
  double flight, flight_wanted;
  /* Of those also clocks of a multiprocessor: in which memory brings it a key and its
   * value, and which an instruction of its tensor cores takes. */
  double key_clocks, product_clocks;
} SchedCost;

/* Everything that `space` and `cost` may look at. */
/* What cost models keep of a case from one schedule to the next (templates/cost.c), and
 * what a search has found so far. */
typedef struct CaseMemo {
  Arena *arena;
  struct MaskCount *counts;
  double enough; /* clocks beyond which a schedule is not taken, however many; 0: none */
} CaseMemo;

typedef struct Case {
  const Spec *spec;
  const Target *target;
  int op;
  /* Hints; 0: unknown, the default problem size is assumed. */
  int64_t b, h, hk, sq, sk, s_new, parts;
  int64_t num_splits; /* asked for by the call; 0: nobody asks */
  int64_t page_size;
  int64_t mean_q, mean_k; /* rows of a sequence, where they are known */
  int sms;
  bool guessed;   /* the lengths are assumed: nobody has told them */
  CaseMemo *memo; /* NULL: the tiles of a mask_mod are not counted, its band alone is */
} Case;

/* What a template does not take: id, code (410 is printed A0410), meaning.  Codes are
 * public: appended, never given another meaning. */
#define REASON_TABLE(X)                                                                    \
  X(TARGET, 410, "the target lacks what the template is made of")                          \
  X(DTYPE, 411, "dtypes that the template does not multiply on the target")                \
  X(DIMS, 412, "a head_dim or head_dim_v that does not fit")                               \
  X(FIELD, 413, "a field of the spec that the template does not compute")
typedef enum Reason {
#define X(id, code, meaning) REASON_##id,
  REASON_TABLE(X)
#undef X
      REASON_COUNT
} Reason;

/* Why not, in words; several reasons are joined.  Of fixed size, so that a refusal can
 * never be lost for want of memory.  What rules_hold notes is there one by one as well. */
enum { WHY_MOST = 8 };
typedef struct Why {
  char text[256];
  int n;
  struct {
    Reason reason;
    const char *why;
  } at[WHY_MOST];
} Why;
/* Notes a reason (why NULL: nobody asks) and is true: `return refused(why, "…", …);`. */
bool refused(Why *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* What a template takes for granted of a spec and a target. */
typedef struct Rule {
  bool ok;
  const char *why;
  Reason reason;
} Rule;
bool rules_hold(const Rule *, int n, Why *); /* notes each that does not */

/* An axis of a space: fields that change together, and the n values that they take. */
enum { AXIS_FIELDS = 4, AXIS_VALUES = 13 };
typedef struct SpaceAxis {
  const char *field[AXIS_FIELDS]; /* NULL behind the last */
  int n, value[AXIS_VALUES][AXIS_FIELDS];
} SpaceAxis;

struct Ahead;
typedef struct Template {
  const char *name, *what;
  int op;                    /* that it computes, ATTNC_OP_FWD … */
  int revision;              /* in the key beside the code id, for readers */
  const SchedField *options; /* what its schedules have besides SCHED_COMMON_TABLE */
  int n_options;
  /* Can it take this spec on this target? */
  bool (*applicable)(const Case *, Why *);
  /* Is it meant for what is known of the sizes?  Where not, it is taken only if it is asked
   * for.  NULL: for all. */
  bool (*meant)(const Case *);
  /* Its space (space.h): the axes that it has in this case, NULL behind the last, and a
   * schedule with the values of all fields that are on none of them. */
  const SpaceAxis *const *(*axes)(const Case *);
  Sched (*plain)(void);
  /* True for a schedule that is not legal; notes the limit that refuses it. */
  bool (*refuse)(const Case *, const Sched *, Why *);
  SchedCost (*cost)(const Case *, const Sched *);
  /* Clocks that differ by no larger share are the same to its model: of those schedules the
   * one of the largest tile is chosen, which has the fewest instructions and barriers a
   * score. */
  double alike;
  Sched (*initial)(const Case *); /* the default: always legal where applicable */
  /* The kernel for a schedule that `refuse` lets through; the call is the host's. */
  void (*emit)(Build *, const Call *, const Sched *);
  /* Of it the entries that compute attention of a call, for templates that are made of
   * others (templates/cascade.h).  NULL: it is no part of any. */
  void (*attend)(Build *, const Call *, const Sched *, struct Ahead *);
  void (*print)(const Sched *, Str *);
  /* The PTX version with which a schedule is at its best, where that is above its target's
   * first one: with a lower one the kernel does without.  NULL: none. */
  int (*ptx)(const Target *, const Sched *);
  int codegen_level; /* LLVM's: 0 none … 3 aggressive */
} Template;

/* Of its fields (compiler/sched_fields.h) that of a name, -1: it has none; and the value of
 * one in a schedule.  For templates that are made of others. */
int sched_find(const Template *, const char *name);
int *sched_at(Sched *, int field);

/* Of the op in question, whatever else it says. */
static inline bool
template_is_asked(const Template *t, const Case *c)
{
  return t->op == c->op;
}

extern const Template *const template_table[];
extern const int n_templates;
const Template *template_find(const char *name);

#endif
