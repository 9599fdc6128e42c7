#include "runtime/tune/tune.h"

#include "base/err.h"
#include "base/str.h"
#include "runtime/kernel.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { MAX_THREADS = 64 };

/* ---- injected faults ---- */

static const char *
replace_all(const char *text, const char *from, const char *to, Arena *arena)
{
  Str s = str_new(arena);
  const char *hit;
  while ((hit = strstr(text, from)) != NULL) {
    str_putn(&s, text, (size_t)(hit - text));
    str_put(&s, to);
    text = hit + strlen(from);
  }
  str_put(&s, text);
  return s.p;
}

/* The first statement of the first entry jumps to itself. */
static const char *
without_end(const char *ptx, Arena *arena)
{
  const char *entry = strstr(ptx, ".entry"), *body = entry ? strchr(entry, '{') : NULL;
  if (!body)
    return ptx;
  return arena_printf(arena, "%.*s\n$injected:\n\tbra $injected;\n%s",
                      (int)(body + 1 - ptx), ptx, body + 1);
}

/* 2^x becomes the reciprocal: a kernel that runs as before, and is wrong. */
static void
inject(Candidate *c, Arena *arena)
{
  if (c->fault == FAULT_WRONG)
    c->ptx = replace_all(c->ptx, "ex2.approx", "rcp.approx", arena);
  if (c->fault == FAULT_HANG)
    c->ptx = without_end(c->ptx, arena);
}

/* ---- compiling ---- */

typedef struct Pool {
  Sweep *sweep;
  attnc_compile_options how;
  atomic_int next, done;
  atomic_bool stop;
} Pool;

/* Here or in another process, as kernels of the context are. */
static attnc_status
make_entry(const Pool *p, Candidate *c)
{
  const Sweep *s = p->sweep;
  JitRequest a = {.spec = s->spec,
                  .problem = &s->copy,
                  .want = &c->named,
                  .target = s->t->target,
                  .compile = &p->how};
  JitResolved answer;
  TRY(jit_resolve(&a, &answer, &c->error));
  attnc_status st = kernel_make(s->ctx, &a, &answer, &c->entry, &c->error);
  jit_resolved_free(&answer);
  return st;
}

static void
compile_one(const Pool *p, Candidate *c)
{
  if (make_entry(p, c) == ATTNC_OK) {
    c->ptx = c->entry->ptx;
    return;
  }
  c->told.state = ATTNC_TUNED_REFUSED;
  c->told.reason = c->error.message;
}

static void *
compile_some(void *arg)
{
  Pool *p = arg;
  int i;
  while (!atomic_load(&p->stop) && (i = atomic_fetch_add(&p->next, 1)) < p->sweep->t->n) {
    compile_one(p, sweep_nth(p->sweep->t, i));
    atomic_fetch_add(&p->done, 1);
  }
  return NULL;
}

/* Until all is compiled, or the caller or the budget ends it. */
static void
watch(Pool *p)
{
  const struct timespec pause = {0, 20000000};
  const int n = p->sweep->t->n;
  while (atomic_load(&p->done) < n) {
    int done = atomic_load(&p->done);
    if (sweep_poll(p->sweep, "compile", done, n, NULL) ||
        (done > 0 && sweep_is_late(p->sweep)))
      break;
    nanosleep(&pause, NULL);
  }
  atomic_store(&p->stop, true);
}

void
sweep_compile(Sweep *s)
{
  Pool p = {.sweep = s, .how = {.size = sizeof p.how}};
  pthread_t ids[MAX_THREADS];
  int threads = 0;
  if (s->ctx->compile)
    p.how.ptx_version = s->ctx->compile->ptx_version;
  while (threads < s->options.jobs && threads < s->t->n && threads < MAX_THREADS &&
         pthread_create(&ids[threads], NULL, compile_some, &p) == 0)
    threads++;
  if (threads)
    watch(&p);
  else
    compile_some(&p); /* no thread to be had: here, one after the other */
  for (int i = 0; i < threads; i++)
    pthread_join(ids[i], NULL);
  for (int i = 0; i < s->t->n; i++)
    if (s->t->at[i].ptx)
      inject(&s->t->at[i], s->t->arena);
}
