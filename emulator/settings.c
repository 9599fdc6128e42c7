#include "emulator/dev.h"

#include "base/env.h"

#include <attnc/attnc_emu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CUDA C++ Programming Guide, compute capabilities; SMs of A100, RTX 3090 (84), RTX 4090 Ti
 * class (142), H100 SXM, RTX 5090.  MMA: f16 multiply-adds with f32 accumulators.  L2: 64
 * bytes a clock and SM. */
static const Chip chips[] = {
    {"sm_80", 80, 108, 49152, 166912, 167936, 65536, 2048, 32, 1024, 16, 64, 64, 40 << 20},
    {"sm_86", 86, 84, 49152, 101376, 102400, 65536, 1536, 16, 512, 16, 128, 64, 6 << 20},
    {"sm_89", 89, 142, 49152, 101376, 102400, 65536, 1536, 24, 512, 16, 128, 64, 72 << 20},
    {"sm_90", 90, 132, 49152, 232448, 233472, 65536, 2048, 32, 1024, 16, 128, 64, 50 << 20},
    {"sm_120", 120, 170, 49152, 101376, 102400, 65536, 1536, 24, 512, 16, 128, 64,
     96 << 20},
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool frozen, read_env;
static Settings current = {.arch = "sm_80",
                           .devices = 1,
                           .resident = 1,
                           .checks = true,
                           .fuel = 100000000,
                           .async = ASYNC_LAZY};

const Chip *
chip_find(const char *name)
{
  for (size_t i = 0; i < sizeof chips / sizeof *chips; i++)
    if (!strcmp(chips[i].name, name))
      return &chips[i];
  return NULL;
}

static bool
number(const char *s, uint64_t max, uint64_t *v)
{
  char *end;
  *v = strtoull(s, &end, 10);
  return *s >= '0' && *s <= '9' && !*end && *v <= max;
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
set_arch(Settings *s, const char *v)
{
  const Chip *c =
      chip_find(strcmp(v, "sm_90a") ? v : "sm_90"); /* the target, for the chip */
  if (!c)
    return false;
  snprintf(s->arch, sizeof s->arch, "%s", c->name);
  return true;
}

static bool
set_one(Settings *s, const char *key, const char *v)
{
  uint64_t n = 0;
  int k;
  if (!strcmp(key, "arch"))
    return set_arch(s, v);
  if (!strcmp(key, "devices") && number(v, MAX_DEVICES, &n) && n)
    return s->devices = (int)n, true;
  if (!strcmp(key, "threads") && number(v, 64, &n))
    return s->threads = (int)n, true;
  if (!strcmp(key, "resident") && number(v, MAX_RESIDENT, &n) && n)
    return s->resident = (int)n, true;
  if (!strcmp(key, "checks") && (k = word(v, "none|all|lax")) >= 0)
    return s->checks = k != 0, s->lax = k == 2, true;
  if (!strcmp(key, "mma") && (k = word(v, "bit|fast")) >= 0)
    return s->fast_mma = k == 1, true;
  if (!strcmp(key, "sched") && (k = word(v, "block|rr|random")) >= 0)
    return s->order = (Order)k, true;
  if (!strcmp(key, "seed") && number(v, UINT64_MAX, &n))
    return s->seed = n, true;
  if (!strcmp(key, "fuel") && number(v, UINT64_MAX, &n) && n)
    return s->fuel = n, true;
  if (!strcmp(key, "regs") && number(v, 256, &n) && n % 8 == 0)
    return s->regs = (uint32_t)n, true;
  if (!strcmp(key, "async") && (k = word(v, "lazy|eager|random")) >= 0)
    return s->async = (AsyncPolicy)k, true;
  return false;
}

static bool
parse(Settings *s, const char *text, char *reason, size_t n)
{
  char item[64];
  while (*text) {
    size_t len = strcspn(text, ",");
    snprintf(item, sizeof item, "%.*s", len < sizeof item ? (int)len : (int)sizeof item - 1,
             text);
    char *equal = strchr(item, '=');
    if (equal)
      *equal++ = 0;
    if (len && (!equal || len >= sizeof item || !set_one(s, item, equal))) {
      snprintf(reason, n, "'%.*s' is not a setting of the emulator", (int)len, text);
      return false;
    }
    text += len + (text[len] == ',');
  }
  return true;
}

/* What the environment says is the start of everything; a mistake in it is a finding, as
 * there is nobody else to tell. */
static void
from_env(void)
{
  char why[200], line[260];
  const char *env = read_env ? NULL : env_get(ENV_EMU);
  Settings s = current;
  read_env = true;
  if (!env)
    return;
  if (parse(&s, env, why, sizeof why)) {
    current = s;
  } else {
    snprintf(line, sizeof line, "ptx:0: error[settings]: ATTNC_EMU: %s", why);
    report_line(line);
  }
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

void
settings_freeze(void)
{
  pthread_mutex_lock(&lock);
  from_env();
  frozen = true;
  pthread_mutex_unlock(&lock);
}

EXPORT int
attncEmuConfigure(const char *settings, char *reason, size_t n)
{
  pthread_mutex_lock(&lock);
  from_env();
  Settings s = current;
  bool ok = parse(&s, settings ? settings : "", reason, n);
  if (ok && frozen && (strcmp(s.arch, current.arch) || s.devices != current.devices)) {
    snprintf(reason, n, "arch and devices are chosen before cuInit");
    ok = false;
  }
  if (ok)
    current = s;
  pthread_mutex_unlock(&lock);
  return ok ? 0 : -1;
}
