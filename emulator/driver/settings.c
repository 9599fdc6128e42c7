#include "emulator/driver/device.h"

#include "base/env.h"
#include "emulator/ptx/target.h"

#include <attnc/attnc_emu.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CUDA C++ Programming Guide, compute capabilities; SMs of T4, A100, RTX 3090 (84), AGX
 * Orin, RTX 4090 Ti class (142), H100 SXM, B200, B300, AGX Thor, RTX 5090, GB10.  MMA: f16
 * multiply-adds with f32 accumulators.  L2: 64 bytes a clock and SM. */
static const Chip chips[] = {
    {"sm_75", 75, 40, 49152, 65536, 65536, 65536, 1024, 16, 512, 16, 64, 64, 4 << 20},
    {"sm_80", 80, 108, 49152, 166912, 167936, 65536, 2048, 32, 1024, 16, 64, 64, 40 << 20},
    {"sm_86", 86, 84, 49152, 101376, 102400, 65536, 1536, 16, 512, 16, 128, 64, 6 << 20},
    {"sm_87", 87, 16, 49152, 166912, 167936, 65536, 1536, 16, 1024, 16, 128, 64, 4 << 20},
    {"sm_89", 89, 142, 49152, 101376, 102400, 65536, 1536, 24, 512, 16, 128, 64, 72 << 20},
    {"sm_90", 90, 132, 49152, 232448, 233472, 65536, 2048, 32, 1024, 16, 128, 64, 50 << 20},
    {"sm_100", 100, 148, 49152, 232448, 233472, 65536, 2048, 32, 4096, 16, 128, 64,
     126 << 20},
    {"sm_103", 103, 148, 49152, 232448, 233472, 65536, 2048, 32, 4096, 32, 128, 64,
     126 << 20},
    {"sm_110", 110, 20, 49152, 232448, 233472, 65536, 1536, 24, 4096, 16, 128, 64,
     32 << 20},
    {"sm_120", 120, 170, 49152, 101376, 102400, 65536, 1536, 24, 512, 16, 128, 64,
     96 << 20},
    {"sm_121", 121, 48, 49152, 101376, 102400, 65536, 1536, 24, 512, 16, 128, 64, 24 << 20},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool frozen, read_env;
static char env_wrong[260]; /* what is wrong with ATTNC_EMU, or nothing */
static Settings current = {.arch = "sm_80",
                           .devices = 1,
                           .resident = 1,
                           .orders = 1,
                           .checks = true,
                           .fuel = 100000000,
                           .async = ASYNC_LAZY};

/* A target of its own, sm_90a, stands for the chip. */
const Chip *
chip_find(const char *name)
{
  size_t n = strlen(name);
  n -= n && name[n - 1] == 'a';
  for (size_t i = 0; i < sizeof chips / sizeof *chips; i++) {
    const Chip *c = &chips[i];
    if (strlen(c->name) == n && !memcmp(c->name, name, n))
      return name[n] && !target_exists(c->cc, 'a', INT_MAX) ? NULL : c;
  }
  return NULL;
}

/* name, its values as words or NULL for a number, least, most, a divisor of it, what it
 * sets of s to the number v or to the index v of the word */
#define SETTING_TABLE(X)                                                                   \
  X(devices, NULL, 1, MAX_DEVICES, 1, s->devices = (int)v)                                 \
  X(threads, NULL, 0, 64, 1, s->threads = (int)v)                                          \
  X(resident, NULL, 1, MAX_RESIDENT, 1, s->resident = (int)v)                              \
  X(checks, "none|all|lax", 0, 0, 1, (s->checks = v != 0, s->lax = v == 2))                \
  X(mma, "bit|fast", 0, 0, 1, s->fast_mma = v == 1)                                        \
  X(ctas, "forward|reverse|random", 0, 0, 1, s->ctas = (CtaOrder)v)                        \
  X(orders, NULL, 1, 1000, 1, s->orders = (int)v)                                          \
  X(sched, "block|rr|random", 0, 0, 1, s->order = (Order)v)                                \
  X(nodes, "forward|reverse|random", 0, 0, 1, s->nodes = (NodeOrder)v)                     \
  X(async, "lazy|eager|random", 0, 0, 1, s->async = (AsyncPolicy)v)                        \
  X(printf, "keep|stdout", 0, 0, 1, s->print = v == 1)                                     \
  X(findings, "keep|stderr", 0, 0, 1, s->tell = v == 1)                                    \
  X(counters, "any|zero", 0, 0, 1, s->counters = v == 1)                                   \
  X(regs, NULL, 0, 256, 8, s->regs = (uint32_t)v)                                          \
  X(seed, NULL, 0, UINT64_MAX, 1, s->seed = v)                                             \
  X(fuel, NULL, 1, UINT64_MAX, 1, s->fuel = v)

#define X(name, words, least, most, step, set)                                             \
  static void set_##name(Settings *s, uint64_t v)                                          \
  {                                                                                        \
    set;                                                                                   \
  }
SETTING_TABLE(X)
#undef X

typedef struct SettingRow {
  const char *name, *words;
  uint64_t least, most, step;
  void (*set)(Settings *, uint64_t);
} SettingRow;

static const SettingRow table[] = {
#define X(name, words, least, most, step, set)                                             \
  {#name, words, least, most, step, set_##name},
    SETTING_TABLE(X)
#undef X
};
enum { N_SETTINGS = sizeof table / sizeof *table, N_CHIPS = sizeof chips / sizeof *chips };

/* Why a setting is not one: cut where it does not fit. */
typedef struct Reason {
  char *text;
  size_t n;
} Reason;

static bool refuse(const Reason *, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static bool
refuse(const Reason *r, const char *fmt, ...)
{
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(r->text, r->n, fmt, ap);
  va_end(ap);
  return false;
}

/* The index of one of the words "a|b|c", -1 if it is none. */
static int
word(const char *s, const char *words)
{
  size_t n = strlen(s);
  for (int i = 0;; i++) {
    size_t len = strcspn(words, "|");
    if (len == n && !memcmp(s, words, n))
      return i;
    if (!words[len])
      return -1;
    words += len + 1;
  }
}

static bool
set_arch(Settings *s, const char *v, const Reason *r)
{
  const Chip *c = chip_find(v);
  if (c) {
    snprintf(s->arch, sizeof s->arch, "%s", c->name);
    return true;
  }
  char names[120] = "";
  for (size_t i = 0, at = 0; i < N_CHIPS && at < sizeof names; i++)
    at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? "|" : "",
                           chips[i].name);
  return refuse(r, "'arch=%s' is not one of %s", v, names);
}

static bool
set_number(const SettingRow *row, Settings *s, const char *v, const Reason *r)
{
  char *end;
  errno = 0;
  uint64_t n = strtoull(v, &end, 10);
  if (*v < '0' || *v > '9' || *end || errno || n < row->least || n > row->most ||
      n % row->step)
    return refuse(r, "'%s=%s' is not an integer from %" PRIu64 " to %" PRIu64 "%s",
                  row->name, v, row->least, row->most,
                  row->step > 1 ? " that 8 divides" : "");
  row->set(s, n);
  return true;
}

static bool
set_word(const SettingRow *row, Settings *s, const char *v, const Reason *r)
{
  int i = word(v, row->words);
  if (i < 0)
    return refuse(r, "'%s=%s' is not one of %s", row->name, v, row->words);
  row->set(s, (uint64_t)i);
  return true;
}

static bool
unknown(const char *key, const Reason *r)
{
  char names[160] = "";
  for (size_t i = 0, at = 0; i < N_SETTINGS && at < sizeof names; i++)
    at += (size_t)snprintf(names + at, sizeof names - at, ", %s", table[i].name);
  return refuse(r, "'%s' is not a setting of the emulator: arch%s", key, names);
}

static bool
set_one(Settings *s, char *item, const Reason *r)
{
  char *v = strchr(item, '=');
  if (v)
    *v++ = 0;
  const SettingRow *row = NULL;
  for (size_t i = 0; i < N_SETTINGS; i++)
    if (!strcmp(table[i].name, item))
      row = &table[i];
  bool arch = !strcmp(item, "arch");
  if (!row && !arch)
    return unknown(item, r);
  if (!v)
    return refuse(r, "'%s' has no value: %s=…", item, item);
  return arch         ? set_arch(s, v, r)
         : row->words ? set_word(row, s, v, r)
                      : set_number(row, s, v, r);
}

static bool
parse(Settings *s, const char *text, const Reason *r)
{
  char item[64];
  while (*text) {
    size_t len = strcspn(text, ",");
    if (len >= sizeof item)
      return refuse(r, "'%.60s…' is not a setting of the emulator", text);
    memcpy(item, text, len);
    item[len] = 0;
    if (len && !set_one(s, item, r))
      return false;
    text += len + (text[len] == ',');
  }
  return true;
}

/* What the environment says is the start of everything.  A mistake in it is kept until it
 * is mended: cuInit fails, and cuGetErrorString says why. */
static void
from_env(void)
{
  static const char prefix[] = "ATTNC_EMU: ";
  const char *env = read_env ? NULL : env_get(ENV_EMU);
  Settings s = current;
  Reason r = {env_wrong + sizeof prefix - 1, sizeof env_wrong - sizeof prefix};
  if (env && !parse(&s, env, &r)) {
    memcpy(env_wrong, prefix, sizeof prefix - 1);
    return;
  }
  read_env = true;
  *env_wrong = 0;
  current = s;
}

Settings
settings_get(void)
{
  pthread_mutex_lock(&lock);
  from_env();
  Settings s = current;
  pthread_mutex_unlock(&lock);
  return s;
}

bool
settings_freeze(void)
{
  pthread_mutex_lock(&lock);
  from_env();
  frozen = !*env_wrong;
  bool ok = frozen;
  pthread_mutex_unlock(&lock);
  return ok;
}

const char *
settings_wrong(void)
{
  pthread_mutex_lock(&lock);
  const char *wrong = *env_wrong ? env_wrong : NULL;
  pthread_mutex_unlock(&lock);
  return wrong;
}

EXPORT int
attncEmuConfigure(const char *settings, char *reason, size_t n)
{
  pthread_mutex_lock(&lock);
  from_env();
  Settings s = current;
  bool ok = parse(&s, settings ? settings : "", &(Reason){reason, n});
  if (ok && frozen && (strcmp(s.arch, current.arch) || s.devices != current.devices)) {
    snprintf(reason, n, "arch and devices are chosen before cuInit");
    ok = false;
  }
  if (ok)
    current = s;
  pthread_mutex_unlock(&lock);
  return ok ? 0 : -1;
}

void
settings_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}
