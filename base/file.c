#include "base/file.h"

#include "base/err.h"
#include "base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINKS = 40 }; /* as the kernel has it */

static attnc_status
failed(attnc_error *e, const char *call, const char *path)
{
  char reason[128];
  int code = errno;
  return err_set(e, code == ENOMEM ? ATTNC_ERR_NOMEM : ATTNC_ERR_IO, "%s %s: %s", call,
                 path, strerror_r(code, reason, sizeof reason));
}

enum { PIPE_WAIT_MS = 2000 }; /* for somebody to open a pipe's other end */

/* A growing malloc'd text; `text` always has room for n + 1. */
typedef struct Input {
  const char *path;
  size_t max, n, cap;
  char *text;
} Input;

static attnc_status
input_grow(Input *in, attnc_error *e)
{
  size_t cap = in->cap ? in->cap * 2 : 64 << 10;
  char *text = realloc(in->text, cap + 1);
  if (!text)
    return err_set(e, ATTNC_ERR_NOMEM, "read %s: out of memory", in->path);
  in->text = text;
  in->cap = cap;
  return ATTNC_OK;
}

/* At most `most` bytes more, at least one unless *end is reached. */
static attnc_status
read_some(Input *in, int fd, size_t most, bool *end, attnc_error *e)
{
  ssize_t got;
  if (in->n == in->cap)
    TRY(input_grow(in, e));
  size_t room = in->cap - in->n;
  do
    got = read(fd, in->text + in->n, room < most ? room : most);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return failed(e, "read", in->path);
  *end = !got;
  in->n += (size_t)got;
  return in->n <= in->max
             ? ATTNC_OK
             : err_set(e, ATTNC_ERR_IO, "read %s: larger than the %zu bytes allowed",
                       in->path, in->max);
}

static attnc_status
read_all(Input *in, int fd, FileWanted *wanted, attnc_error *e)
{
  bool end = false;
  while (!end) {
    size_t want = wanted ? wanted(in->text, in->n) : SIZE_MAX;
    if (in->n >= want)
      break;
    while (!end && in->n < want)
      TRY(read_some(in, fd, want - in->n, &end, e));
  }
  return in->text ? ATTNC_OK : input_grow(in, e);
}

static attnc_status
read_to_end(Input *in, int fd, FileWanted *wanted, char **text, size_t *n, attnc_error *e)
{
  attnc_status status = read_all(in, fd, wanted, e);
  if (status != ATTNC_OK) {
    free(in->text);
    return status;
  }
  in->text[in->n] = 0;
  *text = in->text;
  *n = in->n;
  return ATTNC_OK;
}

static attnc_status
check_regular(int fd, const char *path, attnc_error *e)
{
  struct stat st;
  if (fstat(fd, &st))
    return failed(e, "stat", path);
  if (S_ISREG(st.st_mode))
    return ATTNC_OK;
  errno = S_ISDIR(st.st_mode) ? EISDIR : 0;
  return errno ? failed(e, "read", path)
               : err_set(e, ATTNC_ERR_IO, "read %s: not a regular file", path);
}

attnc_status
file_read(const char *path, size_t max, char **text, size_t *n, attnc_error *e)
{
  Input in = {.path = path, .max = max};
  int fd = open(path, FILE_READ_FLAGS);
  if (fd < 0)
    return failed(e, "open", path);
  attnc_status status = check_regular(fd, path, e);
  if (status == ATTNC_OK)
    status = read_to_end(&in, fd, NULL, text, n, e);
  close(fd);
  return status;
}

/* Whoever writes a pipe is waited for, but not for ever where nobody has opened it; fd does
 * not block before and does after. */
static attnc_status
await_writer(Input *in, int fd, attnc_error *e)
{
  struct pollfd there = {.fd = fd, .events = POLLIN};
  TRY(input_grow(in, e));
  poll(&there, 1, PIPE_WAIT_MS);
  ssize_t got = read(fd, in->text, in->cap); /* EAGAIN: opened, and not yet written */
  if (got == 0)
    return err_set(e, ATTNC_ERR_IO, "read %s: a pipe that nobody writes to", in->path);
  in->n = got > 0 ? (size_t)got : 0;
  return ATTNC_OK;
}

static attnc_status
open_stream(Input *in, int *fd, attnc_error *e)
{
  struct stat st;
  *fd = open(in->path, FILE_READ_FLAGS);
  if (*fd < 0)
    return failed(e, "open", in->path);
  if (!fstat(*fd, &st) && S_ISFIFO(st.st_mode))
    TRY(await_writer(in, *fd, e));
  return fcntl(*fd, F_SETFL, 0) ? failed(e, "fcntl", in->path) : ATTNC_OK;
}

attnc_status
file_read_stream(const char *path, size_t max, char **text, size_t *n, attnc_error *e)
{
  return file_read_wanted(path, NULL, max, text, n, e);
}

attnc_status
file_read_wanted(const char *path, FileWanted *wanted, size_t max, char **text, size_t *n,
                 attnc_error *e)
{
  bool standard = str_eq(path, "-");
  Input in = {.path = standard ? "standard input" : path, .max = max};
  int fd = STDIN_FILENO;
  attnc_status status = standard ? ATTNC_OK : open_stream(&in, &fd, e);
  if (status == ATTNC_OK)
    status = read_to_end(&in, fd, wanted, text, n, e);
  else
    free(in.text);
  if (!standard && fd >= 0)
    close(fd);
  return status;
}

static attnc_status
write_all(int fd, const char *path, const char *p, size_t n, attnc_error *e)
{
  while (n) {
    ssize_t put = write(fd, p, n);
    if (put < 0 && errno == EINTR)
      continue;
    if (put < 0)
      return failed(e, "write", path);
    p += put;
    n -= (size_t)put;
  }
  return ATTNC_OK;
}

/* Not mkstemp: it makes files that only their owner may read, whatever the umask. */
static int
open_beside(const char *path, char *temp, size_t n)
{
  for (int i = 0; i < 100; i++) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(temp, n, "%s.%lx-%lx-%d.tmp", path, (unsigned long)gettid(),
             (unsigned long)now.tv_nsec, i);
    int fd = open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST)
      return fd;
  }
  return -1;
}

static attnc_status
replace(const char *path, char *temp, size_t temp_n, const void *data, size_t n,
        attnc_error *e)
{
  int fd = open_beside(path, temp, temp_n);
  if (fd < 0)
    return failed(e, "create", temp);
  attnc_status status = write_all(fd, temp, data, n, e);
  if (status == ATTNC_OK && fsync(fd))
    status = failed(e, "fsync", temp);
  if (close(fd) && status == ATTNC_OK)
    status = failed(e, "close", temp);
  if (status == ATTNC_OK && rename(temp, path))
    status = failed(e, "rename", temp);
  if (status != ATTNC_OK)
    unlink(temp);
  return status;
}

/* ---- links ---- */

/* The kernel's fs.protected_symlinks, which a rename does not pass and which may be off: in
 * a sticky directory that all may write to, a link is its owner's or the directory's
 * owner's, else a trap. */
static bool
may_follow(const struct stat *dir, const struct stat *link)
{
  const mode_t shared = S_ISVTX | S_IWOTH;
  return (dir->st_mode & shared) != shared || link->st_uid == geteuid() ||
         link->st_uid == dir->st_uid;
}

/* The directory of a path, with its slash; "" for the working directory. */
static size_t
directory_n(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Where a link leads, malloc'd. */
static attnc_status
follow(const char *path, const struct stat *link, char **out, attnc_error *e)
{
  char to[4096];
  struct stat dir;
  size_t n = directory_n(path);
  char *next = malloc(n + sizeof to + 1);
  *out = next;
  if (!next)
    return err_set(e, ATTNC_ERR_NOMEM, "write %s: out of memory", path);
  memcpy(next, path, n);
  next[n] = 0;
  if (stat(n ? next : ".", &dir))
    return failed(e, "stat", path);
  if (!may_follow(&dir, link))
    return err_set(e, ATTNC_ERR_IO,
                   "write %s: a link of another user in a directory that all may write to",
                   path);
  ssize_t got = readlink(path, to, sizeof to - 1);
  if (got < 0)
    return failed(e, "readlink", path);
  to[got] = 0;
  strcpy(to[0] == '/' ? next : next + n, to);
  return ATTNC_OK;
}

/* /dev/stdout leads to /proc/self/fd/1, and that to a "pipe:[1]" which is no path. */
static bool
leads_nowhere(const char *link, const char *to)
{
  struct stat st;
  return lstat(to, &st) && !stat(link, &st);
}

/* The file itself, through links; it need not be there.  malloc'd. */
static attnc_status
target_of(const char *path, char **out, attnc_error *e)
{
  struct stat st;
  attnc_status status = ATTNC_OK;
  char *at = strdup(path);
  *out = NULL;
  if (!at)
    return err_set(e, ATTNC_ERR_NOMEM, "write %s: out of memory", path);
  for (int i = 0; status == ATTNC_OK && !lstat(at, &st) && S_ISLNK(st.st_mode); i++) {
    char *next = NULL;
    errno = ELOOP;
    status = i < MAX_LINKS ? follow(at, &st, &next, e) : failed(e, "write", path);
    bool end = status == ATTNC_OK && leads_nowhere(at, next);
    free(end ? next : at);
    if (end)
      break;
    at = next;
  }
  if (status == ATTNC_OK)
    *out = at;
  else
    free(at);
  return status;
}

/* ---- writing ---- */

static attnc_status
write_beside(const char *target, const void *data, size_t n, attnc_error *e)
{
  size_t temp_n = strlen(target) + 64;
  char *temp = malloc(temp_n);
  attnc_status status =
      temp ? replace(target, temp, temp_n, data, n, e)
           : err_set(e, ATTNC_ERR_NOMEM, "write %s: out of memory", target);
  free(temp);
  return status;
}

static attnc_status
write_in_place(const char *path, const void *data, size_t n, attnc_error *e)
{
  int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
  if (fd < 0)
    return failed(e, "open", path);
  attnc_status status = write_all(fd, path, data, n, e);
  if (close(fd) && status == ATTNC_OK)
    status = failed(e, "close", path);
  return status;
}

attnc_status
file_write(const char *path, const void *data, size_t n, attnc_error *e)
{
  char *target;
  TRY(target_of(path, &target, e));
  attnc_status status = write_beside(target, data, n, e);
  free(target);
  return status;
}

attnc_status
file_write_stream(const char *path, const void *data, size_t n, attnc_error *e)
{
  char *target;
  struct stat st;
  TRY(target_of(path, &target, e));
  bool stream = !stat(target, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
  attnc_status status =
      stream ? write_in_place(target, data, n, e) : write_beside(target, data, n, e);
  free(target);
  return status;
}

static attnc_status
make_directory(const char *path, attnc_error *e)
{
  struct stat st;
  if (!mkdir(path, 0700))
    return ATTNC_OK;
  if (errno != EEXIST)
    return failed(e, "mkdir", path);
  if (stat(path, &st))
    return failed(e, "stat", path);
  if (!S_ISDIR(st.st_mode))
    return err_set(e, ATTNC_ERR_IO, "mkdir %s: exists and is not a directory", path);
  return ATTNC_OK;
}

attnc_status
file_mkdirs(const char *path, attnc_error *e)
{
  char *part = strdup(path);
  if (!part)
    return err_set(e, ATTNC_ERR_NOMEM, "mkdir %s: out of memory", path);
  attnc_status status = ATTNC_OK;
  for (char *slash = strchr(part + (*part == '/'), '/'); slash && status == ATTNC_OK;
       slash = strchr(slash + 1, '/')) {
    *slash = 0;
    status = make_directory(part, e);
    *slash = '/';
  }
  if (status == ATTNC_OK)
    status = make_directory(part, e);
  free(part);
  return status;
}
