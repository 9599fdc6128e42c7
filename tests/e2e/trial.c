#include "tests/e2e/trial.h"

#include "base/schedule.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define X(id, name) name,
static const char *const dtypes[] = {TRIAL_DTYPES(X) NULL};
static const char *const layouts[] = {TRIAL_LAYOUTS(X) NULL};
static const char *const specials[] = {TRIAL_SPECIALS(X) NULL};
static const char *const scales[] = {TRIAL_SCALES(X) NULL};
static const char *const targets[] = {TRIAL_TARGETS(X) NULL};
static const char *const templates[] = {TRIAL_TEMPLATES(X) NULL};
#undef X

const char *
trial_dtype(const Trial *t)
{
  return dtypes[t->dtype];
}

const char *
trial_target(const Trial *t)
{
  return targets[t->target];
}

const char *
trial_template(const Trial *t)
{
  return templates[t->template_id];
}

/* ---- reading ---- */

static bool
choose(const char *word, const char *const *names, int *value)
{
  for (int i = 0; names[i]; i++)
    if (strcmp(word, names[i]) == 0) {
      *value = i;
      return true;
    }
  return false;
}

/* `prefix` and a number, or two with a separator between. */
static bool
number(const char *word, const char *prefix, int *value)
{
  size_t n = strlen(prefix);
  int end = 0;
  return strncmp(word, prefix, n) == 0 && sscanf(word + n, "%d%n", value, &end) == 1 &&
         word[n + (size_t)end] == 0;
}

static bool
pair(const char *word, const char *prefix, int *first, int *second)
{
  size_t n = strlen(prefix);
  int end = 0;
  if (number(word, prefix, first)) {
    *second = *first;
    return true;
  }
  return strncmp(word, prefix, n) == 0 &&
         sscanf(word + n, "%d/%d%n", first, second, &end) == 2 &&
         word[n + (size_t)end] == 0;
}

/* "128x64s2w8q": the schedules of most templates have these fields and no other. */
static bool
short_schedule(const char *text, attnc_schedule *s)
{
  char q = 0;
  int end = 0;
  if (sscanf(text, "%dx%ds%dw%d%c%n", &s->block_m, &s->block_n, &s->num_stages,
             &s->num_warps, &q, &end) != 5)
    return false;
  s->q_in_regs = 1 + (q == 'q');
  return (q == 'q' || q == 'Q') && text[end] == 0;
}

/* "block_m=128,scheduler=grid" */
static bool
long_schedule(const char *text, attnc_schedule *s)
{
  char copy[TRIAL_TEXT], *rest = copy, *part;
  snprintf(copy, sizeof copy, "%s", text);
  while ((part = strsep(&rest, ",")) != NULL) {
    char *value = strchr(part, '=');
    if (!value)
      return false;
    *value++ = 0;
    int field = sched_find(part);
    if (field < 0 || !sched_parse(field, value, sched_at(s, field)))
      return false;
  }
  return true;
}

static bool
schedule(const char *word, Trial *t)
{
  const char *colon = strchr(word, ':');
  char name[32];
  if (!colon || colon - word >= (long)sizeof name)
    return choose(word, templates, &t->template_id);
  snprintf(name, sizeof name, "%.*s", (int)(colon - word), word);
  if (!choose(name, templates, &t->template_id))
    return false;
  return short_schedule(colon + 1, &t->how) || long_schedule(colon + 1, &t->how);
}

static bool
flag(const char *word, const char *name, bool *value, bool to)
{
  if (strcmp(word, name) != 0)
    return false;
  *value = to;
  return true;
}

static bool
window(const char *word, Trial *t)
{
  int end = 0;
  return sscanf(word, "window=%d,%d%n", &t->left, &t->right, &end) == 2 && word[end] == 0;
}

static bool
word_read(const char *w, Trial *t)
{
  int seed = 0;
  if (number(w, "seed=", &seed)) {
    t->seed = (unsigned)seed;
    return true;
  }
  return choose(w, dtypes, &t->dtype) || choose(w, layouts, &t->layout) ||
         choose(w, targets, &t->target) || number(w, "sq", &t->sq) ||
         number(w, "sk", &t->sk) || number(w, "b", &t->b) || pair(w, "h", &t->h, &t->hk) ||
         pair(w, "d", &t->d, &t->dv) || flag(w, "causal", &t->causal, true) ||
         flag(w, "top_left", &t->top_left, true) || flag(w, "nolse", &t->lse, false) ||
         window(w, t) || schedule(w, t) ||
         (strncmp(w, "special=", 8) == 0 && choose(w + 8, specials, &t->special)) ||
         (strncmp(w, "scale=", 6) == 0 && choose(w + 6, scales, &t->scale));
}

static const char *
trial_wrong(const Trial *t)
{
  if (t->b < 1 || t->h < 1 || t->hk < 1 || t->h % t->hk != 0)
    return "b, h and hk are at least 1 and hk divides h";
  if (t->sq < 0 || t->sk < 0)
    return "sq and sk are at least 0";
  if (t->d < 16 || t->d > 256 || t->d % 8 || t->dv < 16 || t->dv > 256 || t->dv % 8)
    return "d is a multiple of 8 from 16 to 256";
  if ((t->sq == 0 || t->sk == 0) && t->special != SPECIAL_NONE &&
      t->special != SPECIAL_STRIDES)
    return "a size of 0 is not specialised";
  return NULL;
}

bool
trial_parse(const char *text, Trial *t, char *why, size_t n)
{
  char copy[1024], *rest = copy;
  *t = (Trial){.b = 1,
               .h = 1,
               .hk = 1,
               .sq = 64,
               .sk = 64,
               .d = 64,
               .dv = 64,
               .left = -1,
               .right = -1,
               .lse = true,
               .seed = 1};
  if ((size_t)snprintf(copy, sizeof copy, "%s", text) >= sizeof copy) {
    snprintf(why, n, "the line is too long");
    return false;
  }
  for (char *w = strtok_r(copy, " \t\r\n", &rest); w; w = strtok_r(NULL, " \t\r\n", &rest))
    if (!word_read(w, t)) {
      snprintf(why, n, "not a word of a case: %s", w);
      return false;
    }
  const char *wrong = trial_wrong(t);
  if (wrong)
    snprintf(why, n, "%s", wrong);
  return !wrong;
}

int
trial_read(const char *path, Trial **out, char *why, size_t n)
{
  FILE *f = fopen(path, "r");
  char line[1024], reason[200];
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
      Trial *more = realloc(*out, sizeof **out * (size_t)(cap = cap ? 2 * cap : 64));
      if (!more)
        abort();
      *out = more;
    }
    if (!trial_parse(line, &(*out)[count++], reason, sizeof reason)) {
      snprintf(why, n, "%s:%d: %s", path, at, reason);
      fclose(f);
      return -1;
    }
  }
  fclose(f);
  return count;
}

/* ---- writing ---- */

typedef struct Text {
  char *p;
  size_t n, cap;
} Text;

__attribute__((format(printf, 2, 3))) static void
put(Text *t, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
  va_end(ap);
  if (n < 0 || t->n + (size_t)n >= t->cap)
    abort(); /* the caller's buffer is too small: a fault of the test */
  t->n += (size_t)n;
}

/* The fields of the short form, in its order. */
static const SchedField shorts[] = {SF_block_m, SF_block_n, SF_num_stages, SF_num_warps,
                                    SF_q_in_regs};

static bool
is_short(const attnc_schedule *s)
{
  unsigned set = 0, all = 0;
  for (int i = 0; i < SF_COUNT; i++)
    set |= sched_get(s, i) ? 1u << i : 0;
  for (size_t i = 0; i < sizeof shorts / sizeof *shorts; i++)
    all |= 1u << shorts[i];
  return set == all;
}

static void
put_schedule(Text *o, const Trial *t)
{
  const attnc_schedule *s = &t->how;
  put(o, "%s", templates[t->template_id]);
  if (!trial_pinned(t))
    return;
  if (is_short(s)) {
    put(o, ":%dx%ds%dw%d%c", s->block_m, s->block_n, s->num_stages, s->num_warps,
        s->q_in_regs == 2 ? 'q' : 'Q');
    return;
  }
  Arena *a = arena_new(0);
  Str list = str_new(a);
  sched_list(&list, s, false);
  for (char *p = list.p; (p = strchr(p, ' ')) != NULL;)
    *p = ',';
  put(o, ":%s", list.p);
  arena_free(a);
}

void
trial_print_schedule(const Trial *t, char *text, size_t n)
{
  Text o = {text, 0, n};
  put_schedule(&o, t);
}

void
trial_print(const Trial *t, char text[TRIAL_TEXT])
{
  Text o = {text, 0, TRIAL_TEXT};
  put(&o, "%s b%d h%d", dtypes[t->dtype], t->b, t->h);
  if (t->hk != t->h)
    put(&o, "/%d", t->hk);
  put(&o, " sq%d sk%d d%d", t->sq, t->sk, t->d);
  if (t->dv != t->d)
    put(&o, "/%d", t->dv);
  put(&o, "%s%s", t->causal ? " causal" : "", t->top_left ? " top_left" : "");
  if (t->left != -1 || t->right != -1)
    put(&o, " window=%d,%d", t->left, t->right);
  put(&o, " %s%s", layouts[t->layout], t->lse ? "" : " nolse");
  if (t->special)
    put(&o, " special=%s", specials[t->special]);
  if (t->scale)
    put(&o, " scale=%s", scales[t->scale]);
  put(&o, " %s ", targets[t->target]);
  put_schedule(&o, t);
  put(&o, " seed=%u", t->seed);
}

/* ---- what the library is asked ---- */

double
trial_macs(const Trial *t)
{
  return (double)t->b * t->h * t->sq * t->sk * (t->d + t->dv);
}

/* Not the default, and exact in float and in 20 decimals. */
double
trial_softmax_scale(const Trial *t)
{
  return t->scale == SCALE_DEFAULT ? NAN : floor(0.8125 / sqrt(t->d) * 0x1p20) * 0x1p-20;
}

void
trial_spec(const Trial *t, char *yaml, size_t n)
{
  Text o = {yaml, 0, n};
  put(&o, "attnc: 1\nname: trial\ndtype: %s\nhead_dim: %d\n", dtypes[t->dtype], t->d);
  if (t->dv != t->d)
    put(&o, "head_dim_v: %d\n", t->dv);
  put(&o, "causal: %s\nreturn_lse: %s\n", t->causal ? "true" : "false",
      t->lse ? "true" : "false");
  if (t->top_left)
    put(&o, "align: top_left\n");
  if (t->left != -1 || t->right != -1)
    put(&o, "window: [%d, %d]\n", t->left, t->right);
  if (t->scale == SCALE_SPEC)
    put(&o, "softmax_scale: %.20f\n", trial_softmax_scale(t));
  if (t->special == SPECIAL_SIZES)
    put(&o, "specialize: [sq, sk]\n");
  else if (t->special == SPECIAL_STRIDES)
    put(&o, "specialize: [strides]\n");
  else if (t->special == SPECIAL_ALL)
    put(&o, "specialize: [b, h, hk, sq, sk, strides%s]\n",
        t->scale == SCALE_SPEC ? ", softmax_scale" : "");
}

attnc_sizes
trial_sizes(const Trial *t)
{
  return (attnc_sizes){.size = sizeof(attnc_sizes),
                       .b = t->b,
                       .h = t->h,
                       .hk = t->hk,
                       .sq = t->sq,
                       .sk = t->sk};
}

attnc_schedule
trial_schedule(const Trial *t)
{
  attnc_schedule s = t->how;
  s.size = sizeof s;
  s.template_name = templates[t->template_id];
  return s;
}

bool
trial_pinned(const Trial *t)
{
  return sched_asks(&t->how);
}
