#include "runtime/cc_failed.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "runtime/below.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { NAME = 80, PATH = 512 };

typedef struct Failure {
  unsigned char key[32];
  double until; /* by the clock of the process; 0: none */
  attnc_error error;
} Failure;

/* Its owner sees to it that one thread is in it at a time. */
struct CcFailed {
  const Cache *cache;
  const char *program;
  Failure at[CC_FAILED_KEPT];
  int next; /* the place that is taken next */
};

CcFailed *
cc_failed_new(const Cache *cache, const char *program)
{
  CcFailed *f = calloc(1, sizeof *f);
  if (f)
    *f = (CcFailed){.cache = cache, .program = program};
  return f;
}

void
cc_failed_free(CcFailed *f)
{
  free(f);
}

static void
remember(CcFailed *f, const unsigned char key[32], const attnc_error *e, double seconds)
{
  Failure *x = &f->at[f->next++ % CC_FAILED_KEPT];
  memcpy(x->key, key, sizeof x->key);
  x->error = *e;
  x->until = clock_seconds() + seconds;
}

static void
file_name(const unsigned char key[32], char name[NAME])
{
  char hex[65];
  sha256_digest_hex(key, hex);
  snprintf(name, NAME, "%s.json", hex);
}

/* The reason is shortened, not the command. */
static void
add_command(const CcFailed *f, const char *path, attnc_error *e)
{
  attnc_error whole = *e;
  int room = (int)sizeof whole.message - (int)strlen(f->program) - (int)strlen(path) - 40;
  err_set(e, whole.status, "%.*s; to repeat it: %s --replay %s", room > 0 ? room : 0,
          whole.message, f->program, path);
}

/* ---- in the cache ---- */

/* A descriptor of the cache's failed/, made where it is wanted; -1: there is none. */
static int
open_folder(const CcFailed *f, bool make)
{
  const char *why;
  int root = -1, dir = -1;
  if (cache_mode(f->cache) != CACHE_OFF && !cache_refusal(f->cache))
    root = below_root(cache_dir(f->cache), true, &why);
  if (root < 0)
    return -1;
  const Below b = {.io = &cache_io, .root = root, .own = true};
  if (!make || !mkdirat(root, "failed", 0700) || errno == EEXIST)
    dir = below_dir(&b, "failed", &why);
  close(root);
  return dir;
}

/* Whole, or not at all. */
static bool
write_in(int dir, const char *name, const char *text, size_t n)
{
  char temp[NAME + 32];
  snprintf(temp, sizeof temp, "%s.%ld", name, (long)getpid());
  int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0)
    return false;
  bool good = write(fd, text, n) == (ssize_t)n;
  good = !close(fd) && good && !renameat(dir, temp, dir, name);
  if (!good)
    unlinkat(dir, temp, 0);
  return good;
}

static bool
write_cached(const CcFailed *f, const unsigned char key[32], const char *text, char *path)
{
  char name[NAME];
  int dir = cache_mode(f->cache) == CACHE_WRITE ? open_folder(f, true) : -1;
  if (dir < 0)
    return false;
  file_name(key, name);
  snprintf(path, PATH, "%s/failed/%s", cache_dir(f->cache), name);
  bool good = write_in(dir, name, text, strlen(text));
  close(dir);
  return good;
}

static BelowRead
read_below(const CcFailed *f, const char *name, BelowFile *file)
{
  char path[NAME + 8];
  const char *why;
  int root = below_root(cache_dir(f->cache), true, &why);
  if (root < 0)
    return BELOW_FAILED;
  const Below b = {.io = &cache_io, .root = root, .own = true};
  snprintf(path, sizeof path, "failed/%s", name);
  BelowRead got = below_read(&b, path, file);
  close(root);
  return got;
}

/* The reason that a file tells; false: none. */
static bool
read_reason(const CcFailed *f, const char *name, const Entry *text, attnc_error *e)
{
  char path[PATH];
  json_t *j = json_loadb((const char *)text->bytes, text->n, 0, NULL);
  const json_t *failed = json_object_get(j, "failed");
  const char *reason = json_string_value(json_object_get(failed, "message"));
  if (reason) {
    err_set(e, (attnc_status)json_integer_value(json_object_get(failed, "status")), "%s",
            reason);
    snprintf(path, sizeof path, "%s/failed/%s", cache_dir(f->cache), name);
    add_command(f, path, e);
  }
  json_decref(j);
  return reason != NULL;
}

/* What another process wrote, if that is not long ago. */
static bool
read_cached(CcFailed *f, const unsigned char key[32], attnc_error *e)
{
  char name[NAME];
  BelowFile file = {0};
  file_name(key, name);
  if (cache_mode(f->cache) == CACHE_OFF || cache_refusal(f->cache) ||
      read_below(f, name, &file) != BELOW_READ)
    return false;
  double left = difftime(file.stamp + CC_FAILED_SECONDS, time(NULL));
  bool recent =
      left > 0 && left <= CC_FAILED_SECONDS && read_reason(f, name, file.entry, e);
  if (recent)
    remember(f, key, e, left);
  entry_release(file.entry);
  return recent;
}

/* ---- elsewhere ---- */

static bool
write_temporary(const char *text, char *path)
{
  const char *dir = secure_getenv("TMPDIR");
  int length =
      snprintf(path, PATH, "%s/attnc-failed-XXXXXX", dir && *dir == '/' ? dir : "/tmp");
  int fd = length < PATH ? mkostemp(path, O_CLOEXEC) : -1;
  size_t n = strlen(text);
  if (fd < 0)
    return false;
  bool good = write(fd, text, n) == (ssize_t)n;
  return !close(fd) && good;
}

/* ---- the two verbs ---- */

bool
cc_failed_find(CcFailed *f, const unsigned char key[32], attnc_error *e)
{
  double now = clock_seconds();
  for (int i = 0; i < CC_FAILED_KEPT; i++)
    if (f->at[i].until > now && !memcmp(f->at[i].key, key, 32)) {
      *e = f->at[i].error;
      return true;
    }
  return read_cached(f, key, e);
}

void
cc_failed_add(CcFailed *f, const unsigned char key[32], json_t *request, attnc_error *e)
{
  char path[PATH];
  json_object_set_new(
      request, "failed",
      json_pack("{s:i, s:s}", "status", (int)e->status, "message", e->message));
  char *text = json_dumps(request, JSON_INDENT(2) | JSON_REAL_PRECISION(17));
  if (text && (write_cached(f, key, text, path) || write_temporary(text, path)))
    add_command(f, path, e);
  free(text);
  remember(f, key, e, CC_FAILED_SECONDS);
}
