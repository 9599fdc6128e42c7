#include "tests/e2e/mutant.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What mutants an opcode that orders something makes. */
typedef enum Loses {
  ITSELF,
  COUNT, /* itself; and waiting for one group more: the count is the last thing in it */
  ORDER, /* not itself, which counts: its order alone */
} Loses;

static const struct {
  const char *prefix;
  Loses loses;
} sync_table[] = {
    {"bar.", ITSELF}, /* bar.sync, bar.arrive, bar.red, bar.warp.sync */
    {"barrier.", ITSELF},
    {"cp.async.wait_group", COUNT},
    {"cp.async.wait_all", ITSELF},
    {"cp.async.commit_group", ITSELF},
    {"fence.", ITSELF},
    {"membar.", ITSELF},
    {"atom.acq_rel.", ORDER},
    {"red.release.", ORDER},
    {"ld.acquire.", ORDER},
};
static const char *const orders[] = {".acq_rel", ".release", ".acquire"};

static int
row(const char *s)
{
  for (size_t i = 0; i < sizeof sync_table / sizeof sync_table[0]; i++)
    if (strncmp(s, sync_table[i].prefix, strlen(sync_table[i].prefix)) == 0)
      return (int)i;
  return -1;
}

static bool
word(char c)
{
  return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%' || c == '.';
}

/* Where the statement at s begins with its guard, "@%p1 " or "@!%p1 ". */
static const char *
guarded(const char *ptx, const char *s)
{
  const char *p = s;
  while (p > ptx && isspace((unsigned char)p[-1]))
    p--;
  while (p > ptx && word(p[-1]))
    p--;
  while (p > ptx && (p[-1] == '!' || p[-1] == '@'))
    p--;
  return *p == '@' ? p : s;
}

static int
add(Mutant *m, int n, MutantKind kind, const char *ptx, const char *s, int line)
{
  const char *from = guarded(ptx, s);
  if (n == MUTANT_MAX)
    return n;
  m += n;
  *m = (Mutant){.kind = kind,
                .line = line,
                .start = (size_t)(from - ptx),
                .n = (size_t)(s - from) + strcspn(s, ";") + 1};
  snprintf(m->what, sizeof m->what, "%.*s", (int)strcspn(s, ";"), s);
  for (char *p = m->what; *p; p++)
    if (isspace((unsigned char)*p))
      *p = ' ';
  return n + 1;
}

int
mutant_list(const char *ptx, Mutant *out)
{
  int n = 0, line = 1;
  for (const char *p = ptx; *p; p++) {
    if (*p == '\n')
      line++;
    if (p[0] == '/' && p[1] == '/') {
      p += strcspn(p, "\n") - 1;
      continue;
    }
    int r = p > ptx && word(p[-1]) ? -1 : row(p);
    if (r < 0)
      continue;
    if (sync_table[r].loses != ORDER)
      n = add(out, n, MUTANT_DELETE, ptx, p, line);
    if (sync_table[r].loses != ITSELF)
      n = add(out, n, MUTANT_WEAKEN, ptx, p, line);
    p += strcspn(p, ";") - 1;
  }
  return n;
}

/* wait_group N becomes wait_group N+1: one group less is waited for; atom.acq_rel becomes
 * atom.relaxed. */
static int
weaken(char *out, size_t cap, const char *s, size_t n)
{
  size_t number = n - 1;
  for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
    const char *at = strstr(s, orders[i]);
    if (at && at < s + n) {
      const char *rest = at + strlen(orders[i]);
      return snprintf(out, cap, "%.*s.relaxed%.*s", (int)(at - s), s, (int)(s + n - rest),
                      rest);
    }
  }
  while (number > 0 && isdigit((unsigned char)s[number - 1]))
    number--;
  return snprintf(out, cap, "%.*s%d;", (int)number, s, atoi(s + number) + 1);
}

char *
mutant_make(const char *ptx, const Mutant *m)
{
  const char *s = ptx + m->start;
  char put[400] = "";
  char *out = malloc(strlen(ptx) + sizeof put);
  int k = m->kind == MUTANT_WEAKEN ? weaken(put, sizeof put, s, m->n) : 0;
  if (!out || k < 0 || (size_t)k >= sizeof put) {
    free(out);
    return NULL;
  }
  memcpy(out, ptx, m->start);
  memcpy(out + m->start, put, (size_t)k);
  strcpy(out + m->start + k, s + m->n);
  return out;
}

const char *
mutant_word(const Mutant *m)
{
  return m->kind == MUTANT_DELETE ? "delete" : "weaken";
}
