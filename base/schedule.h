/* schedule.h: the fields of attnc_schedule as a table, and their values as text.
 *
 * One row a field, from ATTNC_SCHEDULE_TABLE: recipes, tuning tables, pins, the command
 * line and the key are loops over it.  Pure; owns nothing. */
#ifndef ATTNC_BASE_SCHEDULE_H
#define ATTNC_BASE_SCHEDULE_H

#include "base/err.h"
#include "base/str.h"

#include <attnc/attnc.h>

#include <stdbool.h>
#include <stddef.h>

typedef enum SchedField {
#define X(name, ...) SF_##name,
  ATTNC_SCHEDULE_TABLE(X)
#undef X
      SF_COUNT
} SchedField;

typedef enum SchedKind { SK_INT, SK_BOOL, SK_ENUM, SK_COUNT } SchedKind;

typedef struct SchedInfo {
  const char *name;
  size_t offset; /* in attnc_schedule */
  SchedKind kind;
  int least, most;
  const char *names; /* ENUM, separated by blanks */
  const char *what;
} SchedInfo;
extern const SchedInfo sched_info[SF_COUNT];

/* -1: there is no field of that name. */
int sched_find(const char *name);
int *sched_at(attnc_schedule *, int field);
int sched_get(const attnc_schedule *, int field);
/* The value as it is written: 128, true, persistent; JSON has names in quotes. */
void sched_put(Str *, int field, int value, bool json);
/* The inverse; false: no such value. */
bool sched_parse(int field, const char *text, int *value);
/* The n-th name of an ENUM, from 1; NULL: there is none. */
const char *sched_name(int field, int n, size_t *len);
/* What the values may be, for a message. */
void sched_allowed(Str *, int field);
/* "block_m=128 block_n=64 …" of the fields that are set; JSON: `"block_m":128,…`. */
void sched_list(Str *, const attnc_schedule *, bool json);
/* Of a caller who may be older, whose struct ends sooner: what it has not is 0.
 * ATTNC_ERR_USAGE: no size is set, a value that its field cannot have, or a newer caller
 * sets a field that is not known here. */
attnc_status sched_copy(attnc_schedule *to, const attnc_schedule *from, attnc_error *);
/* Is a field or the template set? */
bool sched_asks(const attnc_schedule *);
/* Fields that `to` leaves open are taken from `from`. */
void sched_merge(attnc_schedule *to, const attnc_schedule *from);
/* Every field that `want` sets is so in `have`, and so is its template. */
bool sched_agrees(const attnc_schedule *want, const attnc_schedule *have);

#endif
