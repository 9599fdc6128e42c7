/* mutant.h: PTX text with one synchronising instruction deleted or weakened.
 *
 * Knows the text alone.  A statement is deleted with its guard and its ';', so that what is
 * left is right PTX and every line keeps its number: a mutant that does not load is a fault
 * of the test, never a success. */
#ifndef ATTNC_TESTS_MUTANT_H
#define ATTNC_TESTS_MUTANT_H

#include <stddef.h>

enum { MUTANT_MAX = 256 };

typedef enum MutantKind { MUTANT_DELETE, MUTANT_WEAKEN } MutantKind;

typedef struct Mutant {
  MutantKind kind;
  int line;        /* of the statement, from 1 */
  size_t start, n; /* the statement with its guard and its ';' */
  char what[64];   /* "bar.sync 0" */
} Mutant;

/* All mutants of the text, at most MUTANT_MAX; returns how many. */
int mutant_list(const char *ptx, Mutant *);
/* The mutated text, malloc'd; NULL: out of memory. */
char *mutant_make(const char *ptx, const Mutant *);
const char *mutant_word(const Mutant *); /* "delete" "weaken" */

#endif
