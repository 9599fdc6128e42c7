/* attnc_compile_worker: the other side of cc.c, in the process attnc-cc: reads requests
 * (cc_message.h), compiles, answers, and may die of it.  attnc_compile_replay does the same
 * to a request that was kept. */
#include "base/env.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"
#include "runtime/cc_message.h"
#include "schedule/schedule_json.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { SAID_MAX = 1 << 20 }; /* bytes of standard error, which its parent holds in memory */

/* ---- faults, for tests ---- */

static volatile bool always = true;

static void
use_memory(void)
{
  for (size_t n = 1u << 20; always; n *= 2) {
    char *p = malloc(n);
    if (!p) {
      fputs("LLVM ERROR: out of memory\n", stderr);
      abort();
    }
    memset(p, 1, n);
  }
}

static void
hang(void)
{
  while (always)
    continue;
}

static void
garbage(void)
{
  if (write(STDOUT_FILENO, "this is no answer of a worker", 29) > 0)
    hang();
}

static void
die(void)
{
  fputs("\nLLVM ERROR: Cannot select: injected\n", stderr);
  abort();
}

static void
leave(void)
{
  _exit(3);
}

/* ATTNC_CC_FAULT is KIND or KIND:NAME, of specs of that name. */
static void
inject(const char *spec)
{
  static const struct {
    const char *kind;
    void (*run)(void);
  } faults[] = {{"abort", die},
                {"exit", leave},
                {"garbage", garbage},
                {"hang", hang},
                {"memory", use_memory}};
  const char *fault = env_get(ENV_CC_FAULT);
  size_t n = fault ? strcspn(fault, ":") : 0;
  if (!fault || (fault[n] && !str_eq(fault + n + 1, spec)))
    return;
  for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
    if (strlen(faults[i].kind) == n && !strncmp(faults[i].kind, fault, n))
      faults[i].run();
}

/* ---- a request ---- */

typedef struct Asked {
  attnc_spec *spec;
  attnc_sizes sizes;
  attnc_tensor tensors[CALL_SLOTS];
  ProblemCopy problem;
  Schedule schedule;
  attnc_compile_options options;
  const char *target, *key, *name;
} Asked;

static const char *
text_of(const json_t *j, const char *key)
{
  return json_string_value(json_object_get(j, key));
}

static attnc_status
read_problem(const json_t *j, Asked *a, attnc_error *e)
{
  const json_t *sizes = json_object_get(j, "sizes"),
               *strides = json_object_get(j, "strides");
  size_t n = json_array_size(strides);
  a->sizes.size = sizeof a->sizes;
  for (int i = 0; i < SIZE_COUNT; i++)
    size_set(&a->sizes, (SizeId)i,
             (int64_t)json_integer_value(json_object_get(sizes, size_names[i])));
  for (size_t slot = 0; slot < n && slot < CALL_SLOTS; slot++)
    for (size_t i = 0; i < CALL_STRIDES; i++)
      a->tensors[slot].stride[i] =
          (int64_t)json_integer_value(json_array_get(json_array_get(strides, slot), i));
  attnc_problem p = {.size = sizeof p,
                     .op = (int)json_integer_value(json_object_get(j, "op")),
                     .sizes = &a->sizes,
                     .tensors = a->tensors,
                     .tensor_size = sizeof *a->tensors,
                     .n_tensors = CALL_SLOTS};
  return jit_problem(a->spec, &p, &a->problem, e);
}

/* The strings are the request's. */
static attnc_status
read_request(const json_t *j, Asked *a, attnc_error *e)
{
  const json_t *spec = json_object_get(j, "spec"), *options = json_object_get(j, "options");
  const char *file = text_of(j, "file"), *schema = text_of(j, "schema");
  if (!schema || !str_eq(schema, CC_SCHEMA) || !json_is_string(spec) ||
      !sched_read_json(&a->schedule, json_object_get(j, "schedule")))
    return err_set(e, ATTNC_ERR_USAGE, "this is no request of a compile, %s", CC_SCHEMA);
  a->target = text_of(j, "target");
  a->key = text_of(j, "key");
  a->name = text_of(j, "name");
  a->options = (attnc_compile_options){.size = sizeof a->options,
                                       .dump = text_of(options, "dump"),
                                       .from = text_of(options, "from"),
                                       .text = text_of(options, "text"),
                                       .ptx_version = text_of(options, "ptx_version")};
  attnc_status st = attnc_spec_load(json_string_value(spec), json_string_length(spec),
                                    file ? file : "spec", &a->spec, NULL);
  if (st != ATTNC_OK)
    return err_set(e, st, "the spec of the request cannot be loaded");
  return read_problem(j, a, e);
}

typedef struct Made {
  Entry *entry;
  json_t *notes;
} Made;

static attnc_status
compile(const JitRequest *r, const JitResolved *answer, const char *key, Made *made,
        attnc_error *e)
{
  char hex[65];
  sha256_digest_hex(answer->key, hex);
  if (key && !str_eq(hex, key))
    return err_set(e, ATTNC_ERR_INTERNAL,
                   "attnc-cc comes to the key %.16s for the request of %.16s", hex, key);
  inject(attnc_spec_name(r->spec));
  return jit_compile(r, answer, &made->entry, &made->notes, e);
}

/* `same`: the key must be the one that was asked for. */
static attnc_status
serve(const json_t *j, bool same, Made *made, attnc_error *e)
{
  Asked *a = calloc(1, sizeof *a);
  JitResolved answer = {0};
  if (!a)
    return err_set(e, ATTNC_ERR_NOMEM, "attnc-cc: no memory");
  attnc_status st = read_request(j, a, e);
  JitRequest r = {.spec = a->spec,
                  .problem = &a->problem,
                  .want = &a->schedule,
                  .target = a->target,
                  .compile = &a->options};
  if (st == ATTNC_OK && !a->target)
    st = err_set(e, ATTNC_ERR_USAGE, "the request has no target");
  if (st == ATTNC_OK)
    st = jit_resolve(&r, &answer, e);
  if (st == ATTNC_OK) {
    st = compile(&r, &answer, same ? a->key : NULL, made, e);
    jit_resolved_free(&answer);
  }
  attnc_spec_release(a->spec);
  free(a);
  return st;
}

/* ---- limits ---- */

/* A sanitizer's shadow is address space, of which it takes all that there is. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEMORY_IS_LIMITED = 0 };
#else
enum { MEMORY_IS_LIMITED = 1 };
#endif

static void
limit(int what, rlim_t soft)
{
  struct rlimit now;
  if (getrlimit((__rlimit_resource_t)what, &now))
    return;
  now.rlim_cur = soft < now.rlim_max ? soft : now.rlim_max;
  setrlimit((__rlimit_resource_t)what, &now);
}

/* Of the process as a whole, once; a crash is no core file in the directory of a host. */
static void
limit_process(void)
{
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, SAID_MAX);
}

static void
limit_request(const json_t *j)
{
  const json_t *limits = json_object_get(j, "limits");
  struct rusage used;
  json_int_t seconds = json_integer_value(json_object_get(limits, "seconds"));
  json_int_t memory = json_integer_value(json_object_get(limits, "memory"));
  if (seconds > 0 && !getrusage(RUSAGE_SELF, &used))
    limit(RLIMIT_CPU, (rlim_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec + seconds + 1));
  if (memory > 0 && MEMORY_IS_LIMITED)
    limit(RLIMIT_AS, (rlim_t)memory);
}

/* Bytes of memory that the process has now. */
static json_int_t
resident(void)
{
  long pages[2] = {0};
  FILE *f = fopen("/proc/self/statm", "re");
  int n = f ? fscanf(f, "%ld %ld", &pages[0], &pages[1]) : 0;
  if (f)
    fclose(f);
  return n == 2 ? (json_int_t)pages[1] * sysconf(_SC_PAGESIZE) : 0;
}

/* ---- speech ---- */

typedef struct Streams {
  int in, out;
} Streams;

static bool
read_all(int fd, void *to, size_t n)
{
  for (size_t at = 0; at < n;) {
    ssize_t got = read(fd, (char *)to + at, n - at);
    if (got == 0 || (got < 0 && errno != EINTR))
      return false;
    at += got > 0 ? (size_t)got : 0;
  }
  return true;
}

static bool
write_all(int fd, const void *from, size_t n)
{
  for (size_t at = 0; at < n;) {
    ssize_t put = write(fd, (const char *)from + at, n - at);
    if (put < 0 && errno != EINTR)
      return false;
    at += put > 0 ? (size_t)put : 0;
  }
  return true;
}

static bool
say(const Streams *s, json_t *j, const Entry *entry)
{
  unsigned char head[CC_HEAD];
  char *text = json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(17));
  json_decref(j);
  if (!text)
    return false;
  const CcHead h = {.json_n = strlen(text), .bytes_n = entry ? entry->n : 0};
  cc_head_put(head, &h);
  bool good = write_all(s->out, head, sizeof head) && write_all(s->out, text, h.json_n) &&
              (!entry || write_all(s->out, entry->bytes, entry->n));
  free(text);
  return good;
}

/* NULL: the context has ended the speech. */
static json_t *
hear(const Streams *s)
{
  unsigned char head[CC_HEAD];
  CcHead h;
  if (!read_all(s->in, head, sizeof head) || !cc_head_get(head, &h) || h.bytes_n)
    return NULL;
  char *text = malloc(h.json_n + 1);
  json_t *j =
      text && read_all(s->in, text, h.json_n) ? json_loadb(text, h.json_n, 0, NULL) : NULL;
  free(text);
  return j;
}

static bool
answer(const Streams *s, const json_t *request)
{
  Made made = {0};
  attnc_error e = {0};
  limit_request(request);
  attnc_status st = serve(request, true, &made, &e);
  json_t *j = json_pack("{s:i, s:s, s:o, s:I}", "status", (int)st, "message",
                        st == ATTNC_OK ? "" : e.message, "notes",
                        made.notes ? made.notes : json_object(), "resident", resident());
  bool good = j && say(s, j, made.entry);
  entry_release(made.entry);
  return good;
}

/* What is printed by anybody else goes where errors go. */
static bool
open_streams(Streams *s)
{
  s->in = dup(STDIN_FILENO);
  s->out = dup(STDOUT_FILENO);
  return s->in >= 0 && s->out >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0;
}

attnc_status
attnc_compile_worker(attnc_error *e)
{
  Streams s;
  json_t *request;
  limit_process();
  if (!open_streams(&s) || !say(&s, cc_hello(), NULL))
    return err_set(e, ATTNC_ERR_IO, "attnc-cc: its input and output");
  bool good = true;
  while (good && (request = hear(&s)) != NULL) {
    good = say(&s, json_pack("{s:b}", "taken", 1), NULL) && answer(&s, request);
    json_decref(request);
  }
  close(s.in);
  close(s.out);
  return ATTNC_OK;
}

attnc_status
attnc_compile_replay(const char *request, size_t n, char **ptx, attnc_error *e)
{
  Made made = {0};
  if (!ptx)
    return err_set(e, ATTNC_ERR_USAGE, "attnc_compile_replay: ptx is NULL");
  *ptx = NULL;
  json_t *j = request ? json_loadb(request, n, 0, NULL) : NULL;
  attnc_status st = serve(j, false, &made, e);
  if (st == ATTNC_OK) {
    *ptx = strdup(made.entry->ptx);
    st = *ptx ? ATTNC_OK : err_set(e, ATTNC_ERR_NOMEM, "attnc_compile_replay: no memory");
  }
  entry_release(made.entry);
  json_decref(made.notes);
  json_decref(j);
  return st;
}
