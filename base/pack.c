#include "base/pack.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/str.h"

#include <stdlib.h>
#include <string.h>

static const char magic[8] = {'a', 't', 't', 'n', 'c', 'P', '1', '\n'};
enum { UNIT = 64, AT_BYTES = 8, AT_LIST = 16, AT_SUM = 24, SUM = 32 };

int
pack_is(const void *bytes, size_t n)
{
  return n >= sizeof magic && !memcmp(bytes, magic, sizeof magic);
}

static void
put64(char *p, uint64_t v)
{
  for (int i = 0; i < 8; i++)
    p[i] = (char)(v >> (8 * i));
}

static uint64_t
get64(const char *p)
{
  uint64_t v = 0;
  for (int i = 0; i < 8; i++)
    v |= (uint64_t)(unsigned char)p[i] << (8 * i);
  return v;
}

/* With at least one byte behind it. */
static size_t
filled(size_t n)
{
  return (n / UNIT + 1) * UNIT;
}

static void
checksum(const char *bytes, size_t n, unsigned char sum[SUM])
{
  Sha256 s;
  sha256_start(&s);
  sha256_add(&s, bytes, AT_SUM);
  sha256_add(&s, bytes + AT_SUM + SUM, n - AT_SUM - SUM);
  sha256_end(&s, sum);
}

/* ---- the list ---- */

static bool
is_hex64(const char *s)
{
  for (int i = 0; i < 64; i++)
    if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f')))
      return false;
  return true;
}

/* "HASH  name" or, for sha256sum --binary, "HASH *name". */
static attnc_status
read_line(const char *line, size_t n, const char *what, int number, Arena *arena,
          PackFiles *out, attnc_error *e)
{
  if (n < 67 || !is_hex64(line) || line[64] != ' ' || (line[65] != ' ' && line[65] != '*'))
    return err_set(e, ATTNC_ERR_IO, "%s:%d: not a line of sha256sum", what, number);
  const char *name = line + 66;
  if (memchr(name, '/', n - 66) || name[0] == '.' || memchr(name, 0, n - 66))
    return err_set(e, ATTNC_ERR_IO, "%s:%d: not the name of a file beside it", what,
                   number);
  PackFile *f = vec_push(arena, out);
  if (f)
    f->name = arena_strndup(arena, name, n - 66);
  if (!f || !f->name)
    return err_set(e, ATTNC_ERR_NOMEM, "%s: out of memory", what);
  memcpy(f->hash, line, 64);
  return ATTNC_OK;
}

attnc_status
pack_list(const char *text, size_t n, const char *what, Arena *arena, PackFiles *out,
          attnc_error *e)
{
  const char *end = text + n;
  int number = 1;
  for (const char *p = text; p < end; number++) {
    const char *stop = memchr(p, '\n', (size_t)(end - p));
    size_t length = (size_t)((stop ? stop : end) - p);
    if (length)
      TRY(read_line(p, length, what, number, arena, out, e));
    p += length + 1;
  }
  return out->n ? ATTNC_OK : err_set(e, ATTNC_ERR_IO, "%s: lists no file", what);
}

/* ---- reading ---- */

static attnc_status
bad(const char *what, const char *why, attnc_error *e)
{
  return err_set(e, ATTNC_ERR_IO, "%s: %s", what, why);
}

static attnc_status
check_whole(const char *bytes, size_t n, const char *what, attnc_error *e)
{
  unsigned char sum[SUM];
  if (!pack_is(bytes, n))
    return bad(what, "is not a pack", e);
  if (n < UNIT || n % UNIT || get64(bytes + AT_BYTES) != n)
    return bad(what, "is a pack of another length: cut off, or something is behind it", e);
  checksum(bytes, n, sum);
  return memcmp(sum, bytes + AT_SUM, SUM)
             ? bad(what, "is not the pack that was made: its checksum is wrong", e)
             : ATTNC_OK;
}

attnc_status
pack_read(const void *from, size_t n, const char *what, Arena *arena, PackFiles *out,
          attnc_error *e)
{
  const char *bytes = from;
  TRY(check_whole(bytes, n, what, e));
  size_t list = get64(bytes + AT_LIST), at = UNIT;
  if (list >= n - at || filled(list) > n - at)
    return bad(what, "the list is longer than the pack", e);
  TRY(pack_list(bytes + at, list, what, arena, out, e));
  at += filled(list);
  for (int i = 0; i < out->n; i++) {
    PackFile *f = &out->at[i];
    size_t length = n - at > UNIT ? get64(bytes + at) : SIZE_MAX;
    if (length >= n - at - UNIT || filled(length) > n - at - UNIT)
      return bad(what, "a file is longer than the pack", e);
    f->data = bytes + at + UNIT;
    f->n = length;
    at += UNIT + filled(length);
  }
  return at == n ? ATTNC_OK : bad(what, "has more than its files", e);
}

/* ---- writing ---- */

static int
by_name(const void *a, const void *b)
{
  return strcmp(((const PackFile *)a)->name, ((const PackFile *)b)->name);
}

attnc_status
pack_write(PackFiles *files, Arena *arena, char **bytes, size_t *n, attnc_error *e)
{
  Str list = str_new(arena);
  size_t whole = UNIT, at = UNIT;
  if (files->n > 1)
    qsort(files->at, (size_t)files->n, sizeof *files->at, by_name);
  for (int i = 0; i < files->n; i++) {
    PackFile *f = &files->at[i];
    sha256_hex(f->data, f->n, f->hash);
    str_printf(&list, "%s  %s\n", f->hash, f->name);
    whole += UNIT + filled(f->n);
  }
  whole += filled(list.n);
  if (whole > PACK_MOST)
    return err_set(e, ATTNC_ERR_IO, "a pack of %zu bytes: at most %d", whole, PACK_MOST);
  char *p = NEW_N(arena, char, whole);
  memcpy(p, magic, sizeof magic);
  put64(p + AT_BYTES, whole);
  put64(p + AT_LIST, list.n);
  memcpy(p + at, list.p, list.n);
  at += filled(list.n);
  for (int i = 0; i < files->n; i++) {
    const PackFile *f = &files->at[i];
    put64(p + at, f->n);
    memcpy(p + at + UNIT, f->data, f->n);
    at += UNIT + filled(f->n);
  }
  checksum(p, whole, (unsigned char *)p + AT_SUM);
  *bytes = p;
  *n = whole;
  return ATTNC_OK;
}
