/* str.h: text built in an arena.  Always 0-terminated; p is never NULL after str_new. */
#ifndef ATTNC_BASE_STR_H
#define ATTNC_BASE_STR_H

#include "base/arena.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Str {
  Arena *arena;
  char *p;
  size_t n, cap; /* n without the final 0 */
} Str;

Str str_new(Arena *);
void str_put(Str *, const char *text);
void str_putn(Str *, const char *text, size_t n);
void str_printf(Str *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The text as a JSON string, with its quotes. */
void str_json(Str *, const char *text);
/* Bytes of the UTF-8 character at a 0-terminated text, 1 at its end, 0 if it is not one. */
int str_utf8(const char *text);

bool str_eq(const char *a, const char *b);
bool str_starts(const char *s, const char *prefix);
/* A whole number at *p, in digits and with nothing else than `-` before them; *p is then
 * behind it.  Nothing that a person would not write: no `+5`, no `-0`, no blanks. */
bool str_whole(const char **p, int64_t *out);
/* strtod in the C locale: a host application may have set another.  NaN: out of memory. */
double str_real(const char *text);
/* The closest of `n` candidates in edit distance, NULL if none is close: "did you mean". */
const char *str_nearest(const char *word, const char *const *candidates, int n);

#endif
