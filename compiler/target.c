#include "compiler/target.h"

#include "base/err.h"
#include "base/ptx.h"
#include "base/rules.h"
#include "base/str.h"

#include <attnc/attnc.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

const Target targets[] = {
#define TARGET(name, ...) {#name, __VA_ARGS__},
#include "compiler/target.def"
#undef TARGET
};
const int n_targets = (int)(sizeof targets / sizeof *targets);

static const char *const target_names[] = {
#define TARGET(name, ...) #name,
#include "compiler/target.def"
#undef TARGET
    NULL};

const Target *
target_find(const char *name)
{
  for (int i = 0; i < n_targets; i++)
    if (str_eq(targets[i].name, name))
      return &targets[i];
  return NULL;
}

const Target *
target_for_cc(int cc)
{
  const Target *best = NULL;
  for (int i = 0; i < n_targets; i++) {
    const Target *t = &targets[i];
    if (!rule_runs(t->cc, t->exact, cc))
      continue;
    if (!best || rule_suits(t->cc, t->exact) > rule_suits(best->cc, best->exact))
      best = t;
  }
  return best;
}

/* 100 of "sm_100", "sm_100a"; 0: of another form. */
static int
named_cc(const char *name)
{
  int cc = 0, end = 0;
  if (sscanf(name, "sm_%3d%n", &cc, &end) != 1 || cc < 10)
    return 0;
  bool suffix = name[end] >= 'a' && name[end] <= 'z';
  return name[end + suffix] ? 0 : cc;
}

void
target_unknown(const char *name, char *text, size_t n)
{
  int cc = named_cc(name);
  const Target *t = cc ? target_for_cc(cc) : NULL;
  const char *near = str_nearest(name, target_names, n_targets);
  if (t)
    snprintf(text, n, "unknown target %.40s; kernels for %s run on such a device", name,
             t->name);
  else if (cc)
    snprintf(text, n,
             "unknown target %.40s; no kernel runs on such a device, the first is %s", name,
             targets[0].name);
  else
    snprintf(text, n, "unknown target %.40s; %s%s%s", name,
             near ? "did you mean " : "the first known is ", near ? near : targets[0].name,
             near ? "?" : "");
}

attnc_status
attnc_target_check(const char *name, attnc_error *e)
{
  char text[200];
  if (!name)
    return err_set(e, ATTNC_ERR_USAGE, "no target is named");
  if (target_find(name))
    return ATTNC_OK;
  target_unknown(name, text, sizeof text);
  return err_set(e, ATTNC_ERR_UNSUPPORTED, "%s", text);
}

/* Made once, kept for the life of the process. */
static char table_text[4096];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void
make_table(void)
{
  size_t n = 0;
  for (int i = 0; i < n_targets && n < sizeof table_text; i++) {
    const Target *t = &targets[i];
    int driver = ptx_driver(t->ptx);
    n += (size_t)snprintf(table_text + n, sizeof table_text - n,
                          "%s{\"name\":\"%s\",\"capability\":\"%d.%d\",\"exact\":%s,"
                          "\"ptx\":\"%d.%d\",\"cuda\":\"%d.%d\"}",
                          i ? ",\n" : "[", t->name, t->cc / 10, t->cc % 10,
                          t->exact ? "true" : "false", t->ptx / 10, t->ptx % 10,
                          driver / 1000, driver % 1000 / 10);
  }
  if (n + 3 <= sizeof table_text)
    memcpy(table_text + n, "]\n", 3);
}

const char *
attnc_target_table(void)
{
  pthread_once(&table_once, make_table);
  return table_text;
}

const char *const *
attnc_targets(void)
{
  return target_names;
}
