#include "tests/e2e/legal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

typedef struct Used {
  char text[CASE_PART];
  char some[CASE_TEXT]; /* a case that could have it, drawn among them */
  int times, cases;     /* that use it, that could */
} Used;

struct Legal {
  Used at[MOST];
  int n;
};

Legal *
legal_new(void)
{
  Legal *l = calloc(1, sizeof *l);
  if (!l)
    abort();
  return l;
}

void
legal_free(Legal *l)
{
  free(l);
}

/* What attnc_schedules tells of a schedule, and what is no part of it. */
static bool
figure(const char *name)
{
  static const char *const names[] = {"shared",
                                      "regs",
                                      "blocks_per_sm",
                                      "in_flight_kb",
                                      "in_flight_wanted_kb",
                                      "key_clocks",
                                      "product_clocks",
                                      "cost",
                                      "reason",
                                      "template"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(name, names[i]) == 0)
      return true;
  return false;
}

/* "template=fwd_mma,block_m=64,…": the template, then the fields by name. */
static void
text_of(const json_t *row, char text[CASE_PART])
{
  json_t *fields = json_object();
  const char *name;
  json_t *v;
  snprintf(text, CASE_PART, "template=%s",
           json_string_value(json_object_get(row, "template")));
  json_object_foreach((json_t *)(uintptr_t)row, name, v)
  {
    if (!figure(name))
      json_object_set(fields, name, v);
  }
  char *list = json_dumps(fields, JSON_COMPACT | JSON_SORT_KEYS);
  size_t n = strlen(text);
  for (const char *p = list ? list + 1 : ""; *p && *p != '}' && n + 2 < CASE_PART; p++) {
    bool quote = *p == '"', field = quote && (p[-1] == '{' || p[-1] == ',');
    if (field)
      text[n++] = ',';
    if (!quote && *p != ',')
      text[n++] = *p == ':' ? '=' : *p;
  }
  text[n] = 0;
  free(list);
  json_decref(fields);
}

/* The legal schedules of the case's template; NULL: the case is refused. */
static json_t *
ask(const Case *c)
{
  char *text = NULL, name[32], why[200];
  attnc_spec *spec = NULL;
  Call call;
  CallAsked asked;
  json_t *own = NULL;
  Case open = *c;
  case_template(c, name, sizeof name);
  case_open(&open);
  if (call_place(&call, &open, &spec, why, sizeof why)) {
    call_problem(&call, &asked);
    if (attnc_schedules(spec, &asked.problem, c->target, 0, &text, NULL) == ATTNC_OK) {
      json_t *all = json_loads(text, 0, NULL), *row;
      size_t i;
      own = json_array();
      json_array_foreach(all, i, row)
      {
        if (!strcmp(json_string_value(json_object_get(row, "template")), name))
          json_array_append(own, row);
      }
      json_decref(all);
    }
  }
  attnc_text_free(text);
  call_free(&call, NULL);
  attnc_spec_release(spec);
  return own;
}

static Used *
used(Legal *l, const char *text)
{
  for (int i = 0; i < l->n; i++)
    if (strcmp(l->at[i].text, text) == 0)
      return &l->at[i];
  if (l->n == MOST)
    abort();
  snprintf(l->at[l->n].text, CASE_PART, "%s", text);
  return &l->at[l->n++];
}

/* What attnc_schedules leaves to a compile: sizes that are specialised and not given. */
static bool
compiles(const Case *c)
{
  char why[200];
  attnc_spec *spec = NULL;
  attnc_kernel *k = NULL;
  Call call;
  CallAsked asked;
  bool ok = call_place(&call, c, &spec, why, sizeof why);
  if (ok) {
    call_problem(&call, &asked);
    ok = !attnc_compile(spec, &asked.problem, c->target, NULL, &k, NULL);
  }
  attnc_kernel_release(k);
  call_free(&call, NULL);
  attnc_spec_release(spec);
  return ok;
}

/* ---- plans ---- */

enum { TARGETS = 32 };

/* A context of each target, as long as the program. */
static attnc_context *
context_of(const char *target, attnc_error *e)
{
  static struct {
    char name[16];
    attnc_context *context;
  } all[TARGETS];
  for (int i = 0; i < TARGETS; i++) {
    attnc_options o = {.size = sizeof o, .target = target, .cache = 1};
    if (all[i].context && strcmp(all[i].name, target) == 0)
      return all[i].context;
    if (!all[i].context) {
      snprintf(all[i].name, sizeof all[i].name, "%s", target);
      return attnc_context_create(&o, &all[i].context, e) ? NULL : all[i].context;
    }
  }
  abort();
}

bool
legal_plan(const Case *c, char *why, size_t n)
{
  attnc_error e = {.status = ATTNC_OK};
  attnc_context *ctx = context_of(c->target, &e);
  attnc_spec *spec = NULL;
  char *text = NULL;
  char name[32];
  Call call;
  CallAsked asked;
  Case open = *c;
  case_template(c, name, sizeof name);
  case_open(&open);
  const char *options = strchr(c->schedule, ',');
  attnc_schedule want = {
      .size = sizeof want, .template_name = name, .options = options ? options + 1 : NULL};
  bool ok = call_place(&call, &open, &spec, why, n);
  if (ok && ctx) {
    call_problem(&call, &asked);
    attnc_key_explain(ctx, spec, &asked.problem, *name ? &want : NULL, &text, &e);
  }
  if (ok && !text)
    snprintf(why, n, "%s", e.message);
  ok = text != NULL;
  attnc_text_free(text);
  call_free(&call, NULL);
  attnc_spec_release(spec);
  return ok;
}

/* ---- schedules that are used ---- */

/* The case could have the schedule; the n-th time of one draws with 1 in n. */
static Used *
note_one(Legal *l, const char *text, const Case *c)
{
  Used *u = used(l, text);
  u->cases++;
  if (c->seed * 2654435761u % (unsigned)u->cases == 0)
    snprintf(u->some, CASE_TEXT, "%s", c->text);
  return u;
}

/* All that it could have. */
static void
note(Legal *l, const json_t *own, const Case *c)
{
  char text[CASE_PART];
  json_t *row;
  size_t i;
  json_array_foreach(own, i, row)
  {
    text_of(row, text);
    note_one(l, text, c);
  }
}

/* The least used, of those the first by cost. */
static void
choose(Legal *l, const json_t *own, char text[CASE_PART])
{
  char other[CASE_PART];
  int least = -1;
  json_t *row;
  size_t i;
  json_array_foreach(own, i, row)
  {
    text_of(row, other);
    int times = used(l, other)->times;
    if (least < 0 || times < least) {
      least = times;
      memcpy(text, other, sizeof other);
    }
  }
}

bool
legal_pick(Legal *l, Case *c)
{
  json_t *own = ask(c);
  size_t n = json_array_size(own);
  char text[CASE_PART], why[200];
  bool few = n <= LEGAL_FEW;
  if (n && few)
    choose(l, own, text);
  else if (n)
    text_of(json_array_get(own, c->seed * 2654435761u % n), text);
  bool ok = n && case_pin(c, text, why, sizeof why) && compiles(c);
  if (ok && few) {
    note(l, own, c);
    used(l, text)->times++;
  }
  json_decref(own);
  return ok;
}

bool
legal_has(Legal *l, const Case *c)
{
  json_t *own = ask(c), *row;
  bool few = json_array_size(own) <= LEGAL_FEW, found = false;
  char text[CASE_PART];
  size_t i;
  json_array_foreach(own, i, row)
  {
    text_of(row, text);
    bool same = strcmp(text, c->schedule) == 0;
    if (few)
      note_one(l, text, c)->times += same;
    found |= same;
  }
  json_decref(own);
  return found;
}

/* Is each field of `some` one of `all`? */
static bool
says_all(const char *all, const char *some)
{
  char field[CASE_PART], list[CASE_PART + 2];
  snprintf(list, sizeof list, ",%s,", all);
  for (const char *p = some; *p; p += *p == ',') {
    size_t n = strcspn(p, ",");
    snprintf(field, sizeof field, ",%.*s,", (int)n, p);
    if (!strstr(list, field))
      return false;
    p += n;
  }
  return true;
}

/* The first legal schedule that says all that the case's does: a template has an option
 * more. */
static bool
complete(const Case *c, const json_t *own, char text[CASE_PART])
{
  json_t *row;
  size_t i;
  json_array_foreach(own, i, row)
  {
    text_of(row, text);
    if (says_all(text, c->schedule))
      return true;
  }
  return false;
}

LegalMend
legal_mend(Legal *l, Case *c)
{
  char text[CASE_PART], why[200];
  if (legal_has(l, c))
    return LEGAL_AS_IT_WAS;
  json_t *own = ask(c);
  bool same = complete(c, own, text) && case_pin(c, text, why, sizeof why);
  json_decref(own);
  if (same)
    used(l, text)->times++;
  return same || legal_pick(l, c) ? LEGAL_MENDED : LEGAL_NOT;
}

bool
legal_unused_case(Legal *l, Case *c)
{
  char why[200];
  for (int i = 0; i < l->n; i++)
    if (l->at[i].times == 0 && l->at[i].cases) {
      l->at[i].times = 1;
      return case_parse(l->at[i].some, c, why, sizeof why) &&
             case_pin(c, l->at[i].text, why, sizeof why);
    }
  return false;
}

int
legal_unused(const Legal *l, bool tell)
{
  int n = 0;
  for (int i = 0; i < l->n; i++)
    if (l->at[i].times == 0 && l->at[i].cases) {
      n++;
      if (tell)
        printf("FAIL  no case uses the legal schedule %s\n", l->at[i].text);
    }
  return n;
}
