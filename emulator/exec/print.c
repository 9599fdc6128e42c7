/* What kernels print (vprintf), and what they assert: CUDA C++ Programming Guide,
 * "Formatted output", "Assertion". Text is kept, as a chip keeps it, until somebody takes
 * it. */
#include "emulator/exec/calls.h"
#include "emulator/export.h"
#include "emulator/exec/steps.h"

#include <attnc/attnc_emu.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The buffer of a device, by default (cudaLimitPrintfFifoSize); a text of one call. */
enum { KEPT_MOST = 1 << 20, TEXT_MOST = 4096, SPEC_MOST = 48 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *kept;
static size_t n_kept, dropped;

/* ---- what was printed ---- */

static void
keep(const char *text, size_t n)
{
  pthread_mutex_lock(&lock);
  if (!kept)
    kept = malloc(KEPT_MOST);
  if (kept && n <= KEPT_MOST - n_kept) {
    memcpy(kept + n_kept, text, n);
    n_kept += n;
  } else {
    dropped++;
  }
  pthread_mutex_unlock(&lock);
}

static void
forget(void)
{
  free(kept);
  kept = NULL;
  n_kept = dropped = 0;
}

EXPORT size_t
attncEmuTakeOutput(char *buf, size_t n)
{
  char more[80] = "";
  pthread_mutex_lock(&lock);
  if (dropped)
    snprintf(more, sizeof more, "[%zu more texts were printed]\n", dropped);
  size_t all = n_kept + strlen(more);
  if (all < n) {
    if (n_kept)
      memcpy(buf, kept, n_kept);
    strcpy(buf + n_kept, more);
    forget();
  } else if (n) {
    *buf = 0;
  }
  pthread_mutex_unlock(&lock);
  return all;
}

void
print_flush(void)
{
  pthread_mutex_lock(&lock);
  fwrite(kept ? kept : "", 1, n_kept, stdout);
  fflush(stdout);
  forget();
  pthread_mutex_unlock(&lock);
}

void
print_fork(ForkStep step)
{
  fork_mutex(&lock, step);
}

/* ---- one conversion ---- */

typedef struct Text {
  char *at;
  size_t n, most;
} Text;

static void
add(Text *t, const char *text, size_t n)
{
  n = n < t->most - t->n ? n : t->most - t->n;
  memcpy(t->at + t->n, text, n);
  t->n += n;
}

/* The arguments of a call, packed as C lays them out. */
typedef struct Args {
  Exec *x;
  Warp *w;
  int lane;
  uint64_t at;
  int taken;
} Args;

static uint64_t
next_arg(Args *a, uint64_t bytes)
{
  uint64_t v = 0, n;
  a->at = (a->at + bytes - 1) / bytes * bytes;
  const uint8_t *p = mem_peek(a->x, a->w, a->lane, a->at, &n);
  if (p && n >= bytes)
    memcpy(&v, p, bytes);
  a->at += bytes;
  a->taken++;
  return v;
}

/* A string in any memory, of at most so many bytes; NULL: there is none. */
static const char *
string_at(Exec *x, Warp *w, int lane, uint64_t addr, size_t *n)
{
  uint64_t most = 0;
  const char *s = (const char *)mem_peek(x, w, lane, addr, &most);
  *n = s ? strnlen(s, most) : 0;
  return s;
}

typedef struct Spec {
  char text[SPEC_MOST]; /* "%-08.3", then what the value needs */
  int n;
  int longs, shorts; /* l and h */
  char type;
} Spec;

static bool
put(Spec *s, char c)
{
  if (s->n + 8 >= SPEC_MOST)
    return false;
  s->text[s->n++] = c;
  s->text[s->n] = 0;
  return true;
}

/* % flags width .precision size type; false: it is no conversion.  Returns its length. */
static size_t
read_spec(const char *p, const char *end, Spec *s, Args *a)
{
  const char *from = p++;
  *s = (Spec){.text = "%", .n = 1};
  for (; p < end && strchr("-+ #0", *p); p++)
    if (!put(s, *p))
      return 0;
  for (; p < end && (*p == '*' || *p == '.' || (*p >= '0' && *p <= '9')); p++) {
    char number[16] = {*p};
    if (*p == '*')
      snprintf(number, sizeof number, "%d", (int)next_arg(a, 4));
    for (const char *c = number; *c; c++)
      if (!put(s, *c))
        return 0;
  }
  for (; p < end && (*p == 'l' || *p == 'h'); p++) {
    s->longs += *p == 'l';
    s->shorts += *p == 'h';
  }
  if (p == end || !strchr("diouxXpeEfFgGaAcs", *p))
    return 0;
  s->type = *p++;
  return (size_t)(p - from);
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static int
print_whole(char *out, size_t n, Spec *s, uint64_t v)
{
  bool sign = s->type == 'd' || s->type == 'i';
  if (s->shorts && !s->longs)
    v = sign ? (uint64_t)(s->shorts > 1 ? (int8_t)v : (int16_t)v)
             : v & (s->shorts > 1 ? 0xff : 0xffff);
  else if (!s->longs && sign)
    v = (uint64_t)(int64_t)(int32_t)v;
  put(s, 'l');
  put(s, 'l');
  put(s, s->type);
  return snprintf(out, n, s->text, (long long)v);
}

static int
print_value(char *out, size_t n, Spec *s, Args *a)
{
  double real;
  uint64_t v;
  switch (s->type) {
  case 'c':
    put(s, 'c');
    return snprintf(out, n, s->text, (int)next_arg(a, 4));
  case 'p':
    v = next_arg(a, 8);
    put(s, 'p');
    return snprintf(out, n, s->text, (void *)(uintptr_t)v);
  case 'd':
  case 'i':
  case 'o':
  case 'u':
  case 'x':
  case 'X':
    return print_whole(out, n, s, next_arg(a, s->longs ? 8 : 4));
  default:
    v = next_arg(a, 8);
    memcpy(&real, &v, sizeof real);
    put(s, s->type);
    return snprintf(out, n, s->text, real);
  }
}

static int
print_string(char *out, size_t n, Spec *s, Args *a)
{
  size_t len;
  const char *from = string_at(a->x, a->w, a->lane, next_arg(a, 8), &len);
  char *copy = from ? strndup(from, len) : NULL;
  put(s, 's');
  int done = snprintf(out, n, s->text, copy ? copy : "(null)");
  free(copy);
  return done;
}
#pragma GCC diagnostic pop

static void
convert(Text *t, const char *p, const char *end, Args *a)
{
  while (p < end) {
    const char *percent = memchr(p, '%', (size_t)(end - p));
    add(t, p, (size_t)((percent ? percent : end) - p));
    if (!percent)
      return;
    char out[TEXT_MOST];
    Spec s;
    size_t n = read_spec(percent, end, &s, a);
    int done = !n              ? 0
               : s.type == 's' ? print_string(out, sizeof out, &s, a)
                               : print_value(out, sizeof out, &s, a);
    if (n)
      add(t, out, (size_t)done < sizeof out ? (size_t)done : sizeof out - 1);
    else
      add(t, "%", 1); /* %% and what is no conversion */
    p = percent + (n ? n : percent + 1 < end && percent[1] == '%' ? 2 : 1);
  }
}

/* ---- vprintf(format, arguments) ---- */

/* How many arguments were printed; -1: there is no format. */
static int
print_lane(Exec *x, Warp *w, const CallSite *site, int lane)
{
  size_t n;
  char buffer[TEXT_MOST];
  Text t = {buffer, 0, sizeof buffer};
  const char *format = string_at(x, w, lane, calls_argument(w, site, 0, lane), &n);
  Args a = {.x = x, .w = w, .lane = lane, .at = calls_argument(w, site, 1, lane)};
  if (!format)
    return -1;
  convert(&t, format, format + n, &a);
  if (!x->launch->again)
    keep(t.at, t.n);
  return a.taken;
}

Stop
step_printf(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const CallSite *site = &x->kernel->sites[i->imm];
  uint32_t result[LANES] = {0};
  calls_arguments(x, w, i, mask);
  for (uint32_t m = mask; m; m &= m - 1)
    result[__builtin_ctz(m)] = (uint32_t)print_lane(x, w, site, __builtin_ctz(m));
  calls_result(x, w, site, result, mask);
  return GO;
}

/* ---- __assertfail(message, file, line, function, bytes of a character) ---- */

Stop
step_assert(Exec *x, Warp *w, const Insn *i, uint32_t mask)
{
  const CallSite *site = &x->kernel->sites[i->imm];
  int lane = __builtin_ctz(mask);
  const char *text[3];
  size_t n[3];
  calls_arguments(x, w, i, mask);
  for (int k = 0; k < 3; k++) {
    text[k] = string_at(x, w, lane, calls_argument(w, site, k < 2 ? k : 3, lane), &n[k]);
    n[k] = n[k] < 400 ? n[k] : 400;
  }
  uint32_t t = (uint32_t)w->id * LANES + (uint32_t)lane;
  const uint32_t *b = x->launch->block, *id = w->cta->id;
  return report_fatal(
      x, w, i, CUDA_ERROR_ASSERT, "assert", lane,
      "%.*s:%u: %.*s: block: [%u,%u,%u], thread: [%u,%u,%u] Assertion `%.*s` "
      "failed.",
      (int)n[1], text[1] ? text[1] : "", (unsigned)calls_argument(w, site, 2, lane),
      (int)n[2], text[2] ? text[2] : "", id[0], id[1], id[2], t % b[0], t / b[0] % b[1],
      t / b[0] / b[1], (int)n[0], text[0] ? text[0] : "");
}
