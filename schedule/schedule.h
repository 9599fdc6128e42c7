/* schedule.h: a schedule as named values, whoever knows what the names mean.
 *
 * attnc_schedule has members for what every template has and carries all else as text,
 * "intra_wg_overlap=true,cluster=2".  Inside, a Schedule holds both as one list sorted by
 * name: keys, tuning tables, recipes and JSON are made from it.  What names there are, of
 * which kind and meaning, templates declare in tables of SchedField (compiler/template.h);
 * here only the form of names and values is known.  Pure; owns nothing. */
#ifndef ATTNC_BASE_SCHEDULE_H
#define ATTNC_BASE_SCHEDULE_H

#include "base/err.h"
#include "base/str.h"

#include <attnc/attnc.h>

#include <stdbool.h>
#include <stddef.h>

/* ---- what a field is ---- */

/* Values: INT the number, BOOL 0 or 1, ENUM from 0 in the order of the names. */
typedef enum SchedKind { SK_INT, SK_BOOL, SK_ENUM } SchedKind;

/* A row of a table of fields; X(name, kind, min, max, names, vary, example, what). */
typedef struct SchedField {
  const char *name;
  SchedKind kind;
  int min, max;
  const char *names; /* ENUM, separated by blanks */
  bool vary;         /* tuning tries it alone: a BOOL the other way, else as the example */
  const char *example, *what;
} SchedField;
enum { SCHED_KEEP, SCHED_VARY };
#define SCHED_ROW(name, kind, min, max, names, vary, example, what)                        \
  {#name, SK_##kind, min, max, names, SCHED_##vary, example, what},

/* The members of attnc_schedule. */
#define SCHED_COMMON_TABLE(X)                                                              \
  X(block_m, INT, 1, 4096, NULL, KEEP, "128", "Rows of q of a tile.")                      \
  X(block_n, INT, 1, 4096, NULL, KEEP, "64", "Keys of a tile.")                            \
  X(num_stages, INT, 1, 64, NULL, KEEP, "2",                                               \
    "Depth of the rings that hold tiles of k and v.")                                      \
  X(num_warps, INT, 1, 64, NULL, KEEP, "4", "Warps of a block of threads.")
enum { SCHED_COMMON = 4 };
extern const SchedField sched_common[SCHED_COMMON];

/* False: no value of the field. */
bool sched_value(const SchedField *, const char *text, int *value);

/* ---- named values ---- */

enum {
  SCHED_NAME = 32,  /* bytes of a name, with its end */
  SCHED_VALUE = 24, /* of a value */
  SCHED_MAX = 48,   /* values of a schedule */
  SCHED_TEXT = SCHED_MAX * (SCHED_NAME + SCHED_VALUE)
};

/* The value as it is written: 128, true, persistent. */
void sched_text(const SchedField *, int value, char text[SCHED_VALUE]);
/* What the values may be, for a message. */
void sched_allowed(const SchedField *, char *text, size_t n);

typedef struct SchedNamed {
  char name[SCHED_NAME], value[SCHED_VALUE]; /* zero behind their ends */
} SchedNamed;

/* What is not named is left open. */
typedef struct Schedule {
  char template_name[SCHED_NAME]; /* "": open */
  int n;
  SchedNamed at[SCHED_MAX]; /* sorted by name; zero behind the n-th */
} Schedule;

/* NULL: open. */
const char *sched_get(const Schedule *, const char *name);
/* 0 where open or no number. */
int sched_int(const Schedule *, const char *name);
/* In the place of what the name had, or beside it.  False: a name is of a-z, 0-9, _ and
 * dots, a value of letters, digits, _ . + and -, neither is empty or too long; or there are
 * too many. */
bool sched_set(Schedule *, const char *name, const char *value);
/* Is a field or the template set? */
bool sched_is_set(const Schedule *);
/* Fields that `to` leaves open are taken from `from`. */
void sched_merge(Schedule *to, const Schedule *from);
/* Every field that `want` sets is so in `have`, and so is its template. */
bool sched_agrees(const Schedule *want, const Schedule *have);

/* "block_m=128 block_n=64 …"; JSON: `"block_m":128,"scheduler":"grid",…`. */
void sched_list(Str *, const Schedule *, bool json);
/* "template=fwd_mma,block_m=128,…", as --schedule has it.  ATTNC_ERR_USAGE: not of this
 * form, or a name given twice. */
attnc_status sched_parse(Schedule *, const char *text, attnc_error *);
/* The inverse. */
void sched_write(Str *, const Schedule *);

/* Of a caller, who may be older, whose struct ends sooner: what it has not is open.
 * ATTNC_ERR_USAGE: no size is set, a member that is negative, options that are not of the
 * form, a name given twice, or a newer caller sets a member that is not known here. */
attnc_status sched_read(Schedule *, const attnc_schedule *, attnc_error *);
/* The struct for a call; strings point into the Schedule and to `options`. */
attnc_schedule sched_struct(const Schedule *, char options[SCHED_TEXT]);

#endif
