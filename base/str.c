#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Str
str_new(Arena *arena)
{
  return (Str){.arena = arena, .p = (char *)""};
}

/* Room for `more` characters and the final 0; false: out of memory, nothing changed. */
static bool
room(Str *s, size_t more)
{
  size_t need = s->n + more + 1;
  if (need <= s->cap)
    return true;
  size_t cap = s->cap ? s->cap * 2 : 64;
  while (cap < need)
    cap *= 2;
  char *p = arena_alloc(s->arena, cap);
  if (!p)
    return false;
  memcpy(p, s->p, s->n);
  s->p = p;
  s->cap = cap;
  return true;
}

void
str_putn(Str *s, const char *text, size_t n)
{
  if (!n || !room(s, n))
    return;
  memcpy(s->p + s->n, text, n);
  s->n += n;
  s->p[s->n] = 0;
}

void
str_put(Str *s, const char *text)
{
  str_putn(s, text, strlen(text));
}

void
str_printf(Str *s, const char *fmt, ...)
{
  va_list args, again;
  va_start(args, fmt);
  va_copy(again, args);
  int n = vsnprintf(NULL, 0, fmt, args);
  if (n > 0 && room(s, (size_t)n)) {
    vsnprintf(s->p + s->n, (size_t)n + 1, fmt, again);
    s->n += (size_t)n;
  }
  va_end(again);
  va_end(args);
}

int
str_utf8(const char *text)
{
  const unsigned char *s = (const unsigned char *)text;
  int n = *s < 0x80 ? 1 : *s < 0xc2 ? 0 : *s < 0xe0 ? 2 : *s < 0xf0 ? 3 : *s < 0xf5 ? 4 : 0;
  for (int i = 1; i < n; i++)
    if ((s[i] & 0xc0) != 0x80)
      return 0;
  bool overlong = (*s == 0xe0 && s[1] < 0xa0) || (*s == 0xf0 && s[1] < 0x90);
  bool beyond = (*s == 0xed && s[1] > 0x9f) || (*s == 0xf4 && s[1] > 0x8f);
  return overlong || beyond ? 0 : n;
}

void
str_json(Str *s, const char *text)
{
  static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
  str_put(s, "\"");
  for (int n; *text; text += n ? n : 1) {
    const char *special = strchr(from, *text);
    n = str_utf8(text);
    if (special)
      str_putn(s, (char[]){'\\', to[special - from]}, 2);
    else if (n == 1 && ((unsigned char)*text < 0x20 || *text == 0x7f))
      str_printf(s, "\\u%04x", (unsigned)*text);
    else if (n)
      str_putn(s, text, (size_t)n);
    else
      str_put(s, "\\ufffd");
  }
  str_put(s, "\"");
}

bool
str_eq(const char *a, const char *b)
{
  return strcmp(a, b) == 0;
}

bool
str_starts(const char *s, const char *prefix)
{
  return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Longer words are nobody's typing mistake. */
enum { WORD_MAX = 64 };

static int
least(int a, int b, int c)
{
  int ab = a < b ? a : b;
  return ab < c ? ab : c;
}

/* Insertions, deletions, substitutions and swaps of neighbours, letter case ignored:
 * Damerau-Levenshtein, where no substring is edited twice. */
static int
distance(const char *a, int na, const char *b, int nb)
{
  int rows[3][WORD_MAX + 1];
  int *before = rows[0], *last = rows[1], *row = rows[2];
  for (int j = 0; j <= nb; j++)
    last[j] = before[j] = j;
  for (int i = 1; i <= na; i++) {
    row[0] = i;
    for (int j = 1; j <= nb; j++) {
      int ca = tolower((unsigned char)a[i - 1]), cb = tolower((unsigned char)b[j - 1]);
      row[j] = least(row[j - 1] + 1, last[j] + 1, last[j - 1] + (ca != cb));
      if (i > 1 && j > 1 && ca == tolower((unsigned char)b[j - 2]) &&
          cb == tolower((unsigned char)a[i - 2]) && before[j - 2] + 1 < row[j])
        row[j] = before[j - 2] + 1;
    }
    int *spare = before;
    before = last;
    last = row;
    row = spare;
  }
  return last[nb];
}

const char *
str_nearest(const char *word, const char *const *candidates, int n)
{
  size_t length = strlen(word);
  if (!length || length > WORD_MAX)
    return NULL;
  const char *nearest = NULL;
  int bound = length < 3 ? 1 : (int)(length + 2) / 3; /* a third of the word may be wrong */
  for (int i = 0; i < n; i++) {
    size_t m = strlen(candidates[i]);
    if (m > WORD_MAX)
      continue;
    int d = distance(word, (int)length, candidates[i], (int)m);
    if (d <= bound && d < (int)m && (d < (int)length || d == 0)) {
      nearest = candidates[i];
      bound = d - 1;
    }
  }
  return nearest;
}

bool
str_whole(const char **p, int64_t *out)
{
  char *end;
  bool minus = **p == '-';
  const char *digits = *p + minus;
  errno = 0;
  long long v = strtoll(*p, &end, 10);
  if (*digits < '0' || *digits > '9' || errno || (minus && !v))
    return false;
  *p = end;
  *out = v;
  return true;
}

double
str_real(const char *text)
{
  locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
  double v = c ? strtod_l(text, NULL, c) : (double)NAN;
  if (c)
    freelocale(c);
  return v;
}
