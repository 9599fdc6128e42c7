#include "tests/e2e/case.h"

#include "cli/problem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const scalar_names[] = {
#define X(id, name, ...) name,
    ATTNC_SCALAR_TABLE(X)
#undef X
};

__attribute__((format(printf, 3, 4))) static bool
fits(char *to, size_t n, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  int written = vsnprintf(to, n, fmt, ap);
  va_end(ap);
  return written >= 0 && (size_t)written < n;
}

/* ---- words ---- */

/* Behind the brace that ends what begins at `text`; NULL: none does. */
static const char *
behind_braces(const char *text)
{
  int depth = 0;
  for (const char *p = text; *p; p++) {
    depth += *p == '{' ? 1 : *p == '}' ? -1 : 0;
    if (depth == 0)
      return p + 1;
  }
  return NULL;
}

static bool
scalar(const char *word, Case *c)
{
  for (int i = 0; i < ATTNC_SCALAR_COUNT; i++) {
    size_t n = strlen(scalar_names[i]);
    char *end;
    if (strncmp(word, scalar_names[i], n) != 0 || word[n] != '=')
      continue;
    c->scalars[i] = strtod(word + n + 1, &end);
    return c->has_scalars = *end == 0 && end > word + n + 1;
  }
  return false;
}

static bool
number(const char *word, const char *prefix, unsigned *value)
{
  size_t n = strlen(prefix);
  int end = 0;
  return strncmp(word, prefix, n) == 0 && sscanf(word + n, "%u%n", value, &end) == 1 &&
         word[n + (size_t)end] == 0;
}

/* From MEMORY_PADDED on. */
static const char *const memories[] = {"padded", "packed", "shared"};

/* Everything but sizes. */
static bool
other(const char *word, Case *c)
{
  for (int i = 0; i < MEMORY_SHARED; i++)
    if (strcmp(word, memories[i]) == 0) {
      c->memory = (Memory)(i + MEMORY_PADDED);
      return true;
    }
  if (strncmp(word, "sm_", 3) == 0)
    return fits(c->target, sizeof c->target, "%s", word);
  if (strncmp(word, "template=", 9) == 0)
    return fits(c->schedule, sizeof c->schedule, "%s", word);
  return number(word, "seed=", &c->seed) || scalar(word, c);
}

/* One word of sizes, by the parser of `attnc run --shape`. */
static bool
size(const char *word, Case *c)
{
  Problem p = {.sizes = c->sizes};
  if (problem_parse(word, &p, NULL) || p.head_dim || p.dtype[0] || p.causal || p.top_left ||
      p.has_window)
    return false;
  c->sizes = p.sizes;
  if (c->sizes.hk == 0)
    c->sizes.hk = c->sizes.h;
  return true;
}

/* ---- the spec ---- */

/* "template=fwd_mma,block_m=64" as YAML's "template: fwd_mma, block_m: 64". */
static bool
pins(const char *schedule, char *yaml, size_t n)
{
  size_t at = 0;
  for (const char *p = schedule; *p; p++) {
    const char *put = *p == '=' ? ": " : *p == ',' ? ", " : NULL;
    size_t more = put ? 2 : 1;
    if (at + more >= n)
      return false;
    memcpy(yaml + at, put ? put : p, more);
    at += more;
  }
  yaml[at] = 0;
  return true;
}

static bool
write_spec(Case *c)
{
  char yaml[2 * CASE_PART];
  if (!pins(c->schedule, yaml, sizeof yaml))
    return false;
  return fits(c->spec, sizeof c->spec, "{attnc: 1, name: case%s%s%s, %s",
              *yaml ? ", schedule: {" : "", yaml, *yaml ? "}" : "", c->fields + 1);
}

/* ---- the line ---- */

static bool
words(char *rest, Case *c, char *why, size_t n)
{
  for (char *w, *at = NULL; (w = strtok_r(at ? NULL : rest, " \t\r\n", &at)) != NULL;) {
    if (!other(w, c) && !size(w, c)) {
      snprintf(why, n, "not a word of a case: %s", w);
      return false;
    }
    if (!fits(c->text + strlen(c->text), sizeof c->text - strlen(c->text), " %s", w)) {
      snprintf(why, n, "the line is too long");
      return false;
    }
  }
  return true;
}

static const char *
wrong(const Case *c)
{
  const attnc_sizes *z = &c->sizes;
  if (z->b < 1 || z->h < 1 || z->hk < 1 || z->h % z->hk != 0)
    return "b, h and hk are at least 1 and hk divides h";
  if (z->sq < 0 || z->sk < 0)
    return "sq and sk are at least 0";
  return NULL;
}

bool
case_parse(const char *text, Case *c, char *why, size_t n)
{
  char rest[CASE_TEXT];
  *c = (Case){.target = "sm_80", .seed = 1};
  c->sizes =
      (attnc_sizes){.size = sizeof c->sizes, .b = 1, .h = 1, .hk = 1, .sq = 64, .sk = 64};
  for (int i = 0; i < ATTNC_SCALAR_COUNT; i++)
    c->scalars[i] = NAN;
  text += strspn(text, " \t");
  const char *end = *text == '{' ? behind_braces(text) : NULL;
  if (!end) {
    snprintf(why, n, "a case begins with the fields of its spec in braces: %.80s", text);
    return false;
  }
  if (!fits(c->fields, sizeof c->fields, "%.*s", (int)(end - text), text) ||
      !fits(rest, sizeof rest, "%s", end)) {
    snprintf(why, n, "the line is too long");
    return false;
  }
  snprintf(c->text, sizeof c->text, "%s", c->fields);
  if (!words(rest, c, why, n))
    return false;
  const char *bad = wrong(c);
  if (bad || !write_spec(c))
    snprintf(why, n, "%s", bad ? bad : "the line is too long");
  return !bad && *c->spec;
}

bool
case_pin(Case *c, const char *schedule, char *why, size_t n)
{
  char line[2 * CASE_TEXT];
  const char *old = *c->schedule ? strstr(c->text, c->schedule) : NULL;
  const char *seed = strstr(c->text, " seed=");
  const char *at = old ? old : seed ? seed + 1 : c->text + strlen(c->text);
  if (!fits(line, sizeof line, "%.*s %s %s", (int)(at - c->text), c->text, schedule,
            at + strlen(old ? c->schedule : ""))) {
    snprintf(why, n, "the line is too long");
    return false;
  }
  return case_parse(line, c, why, n);
}

void
case_open(Case *c)
{
  *c->schedule = 0;
  write_spec(c); /* shorter than it was */
}

int
case_pinned(const Case *c, const char *name)
{
  size_t n = strlen(name);
  for (const char *p = c->schedule; (p = strstr(p, name)) != NULL; p += n)
    if (p > c->schedule && p[-1] == ',' && p[n] == '=')
      return atoi(p + n + 1);
  return 0;
}

void
case_template(const Case *c, char *name, size_t n)
{
  const char *at = c->schedule + (*c->schedule ? strlen("template=") : 0);
  snprintf(name, n, "%.*s", (int)strcspn(at, ","), at);
}

/* ---- files ---- */

int
case_read(const char *path, Case **out, char *why, size_t n)
{
  FILE *f = fopen(path, "r");
  char line[CASE_TEXT], reason[200];
  int count = 0, cap = 0, at = 0;
  *out = NULL;
  if (!f) {
    snprintf(why, n, "%s: cannot be read", path);
    return -1;
  }
  while (fgets(line, sizeof line, f)) {
    at++;
    if (line[strspn(line, " \t\r\n")] == 0 || line[0] == '#')
      continue;
    if (count == cap) {
      Case *more = realloc(*out, sizeof **out * (size_t)(cap = cap ? 2 * cap : 64));
      if (!more)
        abort();
      *out = more;
    }
    if (!case_parse(line, &(*out)[count++], reason, sizeof reason)) {
      snprintf(why, n, "%s:%d: %s", path, at, reason);
      fclose(f);
      return -1;
    }
  }
  fclose(f);
  return count;
}
