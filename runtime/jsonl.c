#include "runtime/jsonl.h"

#include "base/err.h"
#include "base/file.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 64 << 20, MAX_LINE = 4096, SUM_DIGITS = 16 };

static void
line_sum(const char *text, size_t n, char sum[SUM_DIGITS + 1])
{
  char hex[65];
  sha256_hex(text, n, hex);
  memcpy(sum, hex, SUM_DIGITS);
  sum[SUM_DIGITS] = 0;
}

/* …,"sum":"0123456789abcdef"} : true if the digits are the hash of what is before. */
static bool
is_sound(const char *line, size_t n)
{
  char sum[SUM_DIGITS + 1], tail[40];
  size_t tail_n = strlen(",\"sum\":\"\"}") + SUM_DIGITS;
  if (n <= tail_n)
    return false;
  line_sum(line, n - tail_n, sum);
  snprintf(tail, sizeof tail, ",\"sum\":\"%s\"}", sum);
  return !memcmp(line + n - tail_n, tail, tail_n);
}

/* ---- reading ---- */

static void
read_line(const char *text, size_t n, int number, JsonlEach *each, void *user)
{
  JsonlLine line = {.number = number, .text = text, .n = n};
  if (!n)
    return; /* what a writer leaves that saw half of another's line */
  json_t *json = NULL;
  if (!is_sound(text, n))
    line.why = "its checksum is not that of its text";
  else if (!(json = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL)))
    line.why = "not JSON";
  line.json = json;
  each(user, &line);
  json_decref(json);
}

size_t
jsonl_parse(const char *text, size_t n, JsonlEach *each, void *user)
{
  const char *p = text;
  int number = 1;
  for (const char *end = text + n; p < end; number++) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    if (!stop)
      break; /* being written, or torn */
    read_line(p, (size_t)(stop - p), number, each, user);
    p = stop + 1;
  }
  return (size_t)(p - text);
}

attnc_status
jsonl_read(const char *path, JsonlEach *each, void *user, attnc_error *e)
{
  char *text = NULL;
  size_t n = 0;
  attnc_status status = file_read(path, MAX_FILE, &text, &n, e);
  if (status != ATTNC_OK)
    return access(path, F_OK) == 0 ? status : ATTNC_OK;
  jsonl_parse(text, n, each, user);
  free(text);
  return ATTNC_OK;
}

/* ---- appending ---- */

static bool
ends_torn(int fd)
{
  struct stat st;
  char last = '\n';
  return !fstat(fd, &st) && st.st_size > 0 && pread(fd, &last, 1, st.st_size - 1) == 1 &&
         last != '\n';
}

/* One write, so that lines of two processes do not mix.  Where another is just being
 * written its end may not be seen yet: then an empty line comes between, which nobody
 * minds. */
static attnc_status
append(const char *path, const char *line, size_t n, attnc_error *e)
{
  char reason[128];
  const char *failed = NULL;
  struct stat st;
  int fd =
      open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
  if (fd >= 0 && !fstat(fd, &st) && !S_ISREG(st.st_mode)) {
    close(fd);
    return err_set(e, ATTNC_ERR_IO, "open %s: not a regular file", path);
  }
  if (fd < 0)
    return err_set(e, ATTNC_ERR_IO, "open %s: %s", path,
                   strerror_r(errno, reason, sizeof reason));
  size_t skip = ends_torn(fd) ? 0 : 1; /* the line is given with a newline before it */
  ssize_t put = write(fd, line + skip, n - skip);
  if (put != (ssize_t)(n - skip))
    failed = "write";
  else if (fsync(fd))
    failed = "fsync";
  int code = errno;
  if (close(fd) && !failed) {
    failed = "close";
    code = errno;
  }
  return failed ? err_set(e, ATTNC_ERR_IO, "%s %s: %s", failed, path,
                          strerror_r(code, reason, sizeof reason))
                : ATTNC_OK;
}

attnc_status
jsonl_append_text(const char *path, const char *text, size_t n, attnc_error *e)
{
  char line[MAX_LINE];
  if (n + 2 > sizeof line)
    return err_set(e, ATTNC_ERR_USAGE, "%s: the line is too long", path);
  line[0] = '\n';
  memcpy(line + 1, text, n);
  line[n + 1] = '\n';
  return append(path, line, n + 2, e);
}

attnc_status
jsonl_append(const char *path, json_t *json, attnc_error *e)
{
  char line[MAX_LINE], sum[SUM_DIGITS + 1];
  char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
  json_decref(json);
  if (!text)
    return err_set(e, ATTNC_ERR_NOMEM, "%s: out of memory", path);
  size_t open = strlen(text) - 1; /* without the last brace */
  line_sum(text, open, sum);
  int n = snprintf(line, sizeof line, "%.*s,\"sum\":\"%s\"}", (int)open, text, sum);
  free(text);
  if (n < 0 || (size_t)n >= sizeof line)
    return err_set(e, ATTNC_ERR_USAGE, "%s: the line is too long", path);
  return jsonl_append_text(path, line, (size_t)n, e);
}
